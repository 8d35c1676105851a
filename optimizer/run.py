"""One run: recipe in; trained, cut, verified and priced network out, as a signed bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import msgspec
import numpy as np

from headtail.bundle.keys import Signer, read_signer
from headtail.bundle.manifest import Point
from headtail.profile import read_device_profile, read_link_profile
from headtail.tensor import Array
from optimizer.cut import CutModel, cut_model, legal_cuts, select_cuts
from optimizer.data.dataset import Dataset
from optimizer.data.load import load
from optimizer.genome_cost import Terms
from optimizer.graph import Graph, read_graph
from optimizer.keras_onnx import before_softmax, export_keras
from optimizer.labelled import Labelled
from optimizer.network import build_keras
from optimizer.package import Offer, Verified, pack
from optimizer.package_points import Profiles, Windows, build_points
from optimizer.partition import (
    Bounds,
    Choice,
    Row,
    before_training,
    choose,
    list_rows,
    within_device,
)
from optimizer.progress import Reporter
from optimizer.recipe import NetworkConfig, Recipe, read_recipe
from optimizer.report import write_report
from optimizer.run_description import describe
from optimizer.run_folder import RunFolder, open_run
from optimizer.run_inputs import Inputs, build_inputs, draw_test_windows
from optimizer.run_search import ShortTraining, search_or_restore
from optimizer.run_summary import RunSummary
from optimizer.run_training import train_or_restore
from optimizer.search import SearchRecord
from optimizer.train import predict
from optimizer.verify import Reference, verify
from optimizer.verify import before_softmax as tensors_before_softmax


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `optimizer run` was asked for."""

    recipe: Path
    out: Path
    key: Path | None = None
    seed: int | None = None
    """Replaces the recipe's seed; None keeps it."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Where the bundle of a run is."""

    bundle: Path
    digest: str
    summary: RunSummary | None
    """None where the run was finished before and nothing was done."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same from the first stage of a run to the last."""

    recipe: Recipe
    signer: Signer
    profiles: Profiles
    folder: RunFolder
    reporter: Reporter

    @property
    def bounds(self) -> Bounds:
        """The recipe's bounds, and the device's own memory where that is less."""
        return within_device(self.recipe.partition.bounds, self.profiles.devices[0])


def run_recipe(request: RunRequest, reporter: Reporter) -> RunResult:
    """Make a bundle from a recipe, in a folder of its own.

    A finished run is not repeated. An interrupted one goes on after its last finished stage and
    ends with the same digest.

    Raises:
        HeadtailError: One line on what is wrong; no bundle is left behind then.
    """
    recipe = read_recipe(request.recipe, request.seed)
    partition = recipe.partition
    profiles = Profiles(
        (read_device_profile(partition.device_profile),),
        (read_link_profile(partition.link_profile),),
    )
    signer = read_signer(request.key)
    folder = open_run(request.out, recipe, request.recipe.read_bytes())
    record = folder.record
    if record.bundle and record.digest and (folder.path / record.bundle).exists():
        reporter.say(f"finished earlier, nothing to do: {folder.path / record.bundle}")
        return RunResult(folder.path / record.bundle, record.digest, None)
    summary = _run(_Job(recipe, signer, profiles, folder, reporter))
    return RunResult(folder.path / summary.bundle, summary.packed.digest, summary)


def _run(job: _Job) -> RunSummary:
    recipe, reporter = job.recipe, job.reporter
    with reporter.stage("load the data") as advance:
        dataset = load(recipe.data, lambda what, done, total: advance(done, total, what))
        inputs = build_inputs(dataset, recipe)
    if dataset.is_synthetic:
        reporter.say("SYNTHETIC data: what follows says nothing about real patients")
    windows = inputs.verification(recipe.export.verify_windows)
    found = None
    if recipe.search is not None:
        found = _search(job, inputs, len(dataset.labels))
        recipe = msgspec.structs.replace(recipe, network=found.network, search=None)
    with reporter.stage("check the bounds"):
        _check_bounds(job, recipe.network, inputs, len(dataset.labels))
    model, record = train_or_restore(recipe, inputs, len(dataset.labels), job.folder, reporter)
    with reporter.stage("export and cut"):
        content = export_keras(model, recipe.export.opset)
        job.folder.write("model.onnx", content)
        graph, cut = _cut(job, content)
    with reporter.stage("verify against Keras"):
        feed = {graph.inputs[0].name: windows}
        error = verify(cut, _reference(model, graph), feed, tensors_before_softmax(graph))
    with reporter.stage("price the points"):
        points = _points(job, cut, inputs, inputs.validation)
        choice = _choose(job, points, job.bounds)
    with reporter.stage("write and test the bundle"):
        offer = Offer(points, choice.point, choice.encoding)
        verified = Verified(len(windows), f"{dataset.name}, validation split", "keras")
        described = describe(job.recipe, job.profiles, dataset, record, found, verified)
        bundle = f"{recipe.name}-{recipe.version}.bundle"
        samples = {graph.inputs[0].name: inputs.samples}
        packed = pack(job.folder.path / bundle, cut, offer, described, samples, job.signer)
    summary = RunSummary(
        recipe=job.recipe,
        data=described.lineage.data,
        labels=dataset.labels,
        is_synthetic=dataset.is_synthetic,
        training=record,
        rows=_rows(job, points),
        choice=choice,
        packed=packed,
        bundle=bundle,
        parameters=model.count_params(),
        verified_windows=len(windows),
        verified_error=error,
        found=found,
    )
    with reporter.stage("write the report"):
        _write_test_windows(job, dataset)
        write_report(summary, job.folder)
        job.folder.finish(bundle, packed.digest)
    return summary


def _search(job: _Job, inputs: Inputs, classes: int) -> SearchRecord:
    partition = job.recipe.partition
    terms = Terms(
        job.profiles, job.bounds, partition.objective, partition.encodings, partition.fog_factor
    )
    trainer = ShortTraining(job.recipe, inputs, classes)
    return search_or_restore(job.recipe, terms, trainer, job.folder, job.reporter)


def _check_bounds(job: _Job, network: NetworkConfig, inputs: Inputs, classes: int) -> None:
    """Raise what `choose` would raise after the training, as far as it can be known now.

    No cost depends on the weights, but the export leaves out a bias that is zero.
    """
    model = build_keras(network.genome(classes), job.recipe.seed)
    model.set_weights([w + np.float32(0.01) for w in model.get_weights()])
    _, cut = _cut(job, export_keras(model, job.recipe.export.opset))
    _choose(job, _points(job, cut, inputs, None), before_training(job.bounds))


def _cut(job: _Job, content: bytes) -> tuple[Graph, CutModel]:
    graph = read_graph(content)
    cuts = select_cuts(legal_cuts(graph), job.recipe.partition.points)
    return graph, cut_model(graph, cuts)


def _reference(model: keras.Model, graph: Graph) -> Reference:
    logits = before_softmax(model)
    x, y = graph.inputs[0].name, graph.outputs[0].name

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        return {y: predict(logits, feed[x])}

    return run


def _points(
    job: _Job, cut: CutModel, inputs: Inputs, labelled: Labelled | None
) -> tuple[Point, ...]:
    """Return the priced points with the encodings that the recipe offers."""
    name = cut.inputs[0].name
    windows = Windows(
        samples={name: inputs.samples},
        calibration={name: inputs.calibration},
        labelled=None if labelled is None else {name: labelled.x},
        labels=None if labelled is None else labelled.y,
    )
    return build_points(cut, windows, job.profiles, job.recipe.partition.encodings)


def _choose(job: _Job, points: tuple[Point, ...], bounds: Bounds) -> Choice:
    device, link = job.profiles.devices[0].name, job.profiles.links[0].name
    partition, asked = job.recipe.partition, job.recipe.search
    if asked is not None and asked.method == "no_partition":
        points = points[-1:]
    return choose(points, bounds, partition.objective, device, link, partition.fog_factor)


def _rows(job: _Job, points: tuple[Point, ...]) -> tuple[Row, ...]:
    device, link = job.profiles.devices[0].name, job.profiles.links[0].name
    return list_rows(points, job.bounds, device, link, job.recipe.partition.fog_factor)


def _write_test_windows(job: _Job, dataset: Dataset) -> None:
    """Write raw windows with labels that the edge agent can replay: `--source npz:test.npz`."""
    rng = np.random.default_rng(job.recipe.seed)
    drawn = draw_test_windows(dataset, job.recipe.export.test_windows, rng)
    job.folder.write_with("test.npz", lambda path: np.savez_compressed(path, x=drawn.x, y=drawn.y))
