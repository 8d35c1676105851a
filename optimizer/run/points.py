"""The partition points of a run: cut, priced with the recipe's profiles, and one of them chosen."""

from dataclasses import dataclass

import numpy as np

from headtail.bundle.manifest import Point
from optimizer.candidate import Candidate
from optimizer.cut.cut import CutModel, cut_model, legal_cuts, select_cuts
from optimizer.cut.graph import Graph, read_graph
from optimizer.inputs import Inputs
from optimizer.keras_onnx import export_keras
from optimizer.labelled import Labelled
from optimizer.latency import FogTime
from optimizer.network import Genome
from optimizer.package.points import Profiles, Windows, build_points
from optimizer.partition import (
    Bounds,
    Choice,
    Row,
    before_training,
    choose_row,
    list_rows,
    with_floor,
    within_device,
)
from optimizer.recipe.recipe import Recipe
from optimizer.search.genome_cost import Terms, price
from optimizer.training.keras_model import build_keras


@dataclass(frozen=True, slots=True)
class Pricing:
    """What points are priced with and held against."""

    recipe: Recipe
    profiles: Profiles
    fog: FogTime | None = None
    """What the fog adds to the latency, where the field tells it."""

    @property
    def bounds(self) -> Bounds:
        """The recipe's bounds and floor, and the device's own memory where that is less."""
        partition = self.recipe.partition
        kept = with_floor(partition.bounds, partition.accuracy_floor)
        return within_device(kept, self.profiles.devices[0])

    @property
    def terms(self) -> Terms:
        """What decides which point of a genome is the best."""
        partition = self.recipe.partition
        return Terms(
            self.profiles,
            self.bounds,
            partition.objective,
            partition.encodings,
            partition.fog_factor,
            fog=self.fog,
        )

    def cut(self, content: bytes) -> tuple[Graph, CutModel]:
        """Cut an exported model as the recipe says."""
        graph = read_graph(content)
        cuts = select_cuts(legal_cuts(graph), self.recipe.partition.points)
        return graph, cut_model(graph, cuts)

    def points(self, cut: CutModel, inputs: Inputs, labelled: Labelled | None) -> tuple[Point, ...]:
        """Return the priced points with the encodings that the recipe offers."""
        name = cut.inputs[0].name
        windows = Windows(
            samples={name: inputs.samples},
            calibration={name: inputs.calibration},
            labelled=None if labelled is None else {name: labelled.x},
            labels=None if labelled is None else labelled.y,
        )
        return build_points(cut, windows, self.profiles, self.recipe.partition.encodings)

    def choose(self, points: tuple[Point, ...], bounds: Bounds | None = None) -> Choice:
        """Return the best point and encoding.

        Raises:
            SearchError: If none is within the bounds, or the objective cannot be predicted.
        """
        partition, asked = self.recipe.partition, self.recipe.search
        if asked is not None and asked.method == "no_partition":
            points = points[-1:]
        best = choose_row(self._rows(points, bounds or self.bounds), partition.objective)
        return Choice(best.point, best.encoding, best.cost)

    def rows(self, points: tuple[Point, ...]) -> tuple[Row, ...]:
        """Return every point with every encoding, priced and held against the bounds."""
        return self._rows(points, self.bounds)

    def check(self, genome: Genome, inputs: Inputs) -> None:
        """Raise what `choose` would raise after the training, as far as it can be known now.

        No cost depends on the weights, but the export leaves out a bias that is zero, and writes
        two that are equal once.
        """
        model = build_keras(genome)
        rng = np.random.default_rng(0)
        model.set_weights([w + rng.uniform(0.1, 0.2, w.shape) for w in model.get_weights()])
        _, cut = self.cut(export_keras(model, self.recipe.export.opset))
        self.choose(self.points(cut, inputs, None), before_training(self.bounds))

    def candidate(self, genome: Genome, index: int) -> Candidate:
        """Return a network with the point and encoding at which it will be cut.

        Args:
            genome: The network.
            index: Which of the recipe's inputs it takes.
        """
        points = price(genome, self.profiles, self.recipe.partition.encodings)
        choice = self.choose(points, before_training(self.bounds))
        return Candidate(genome, index, choice.point, choice.encoding)

    def _rows(self, points: tuple[Point, ...], bounds: Bounds) -> tuple[Row, ...]:
        names = self.profiles.devices[0].name, self.profiles.links[0].name
        return list_rows(points, bounds, *names, self.recipe.partition.fog_factor, self.fog)
