"""A finished run of the paper's network AC-2 put together by hand, for the tests of reports."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from paper_profiles import PROFILES

from headtail.bundle.manifest import Lineage, Manifest, Member, Point, Segment
from headtail.operations import Operations
from headtail.tensor import TensorSpec
from headtail.wire import Affine, Encoding
from optimizer.candidate import Candidate
from optimizer.compare.compare import ComparatorRow, ComparisonRecord
from optimizer.network import Genome, HeadFootprint
from optimizer.package.package import Packed
from optimizer.partition import Bounds, Choice, choose, list_rows
from optimizer.recipe.recipe import NetworkConfig, PartitionConfig, Recipe, read_recipe
from optimizer.report.summary import RunSummary
from optimizer.run_folder import RunFolder
from optimizer.search.genome_cost import Terms, assess, price
from optimizer.search.history import SearchHistoryWriter, continue_history
from optimizer.search.record import SearchRecord
from optimizer.search.search import Problem, search
from optimizer.training.record import TrainingRecord
from optimizer.training.repeats import Repeat, StatisticsRecord
from optimizer.training.training import Epoch

AC_2 = Genome((2048, 32, 8, 128, 256, 1024), (1, 4, 3, 4, 4, 2), 5)
RECIPES = Path(__file__).parents[2] / "recipes"
LABELS = ("N", "S", "V", "F", "Q")
TEST = [
    [110, 4, 3, 3, 0],
    [5, 100, 10, 5, 0],
    [2, 8, 105, 5, 0],
    [3, 2, 5, 110, 0],
    [0, 0, 0, 0, 120],
]
ENCODINGS = (Encoding.FLOAT32, Encoding.INT8)


def make_summary(
    network: Genome = AC_2,
    bounds: Bounds | None = None,
    encodings: tuple[Encoding, ...] = ENCODINGS,
    offered: Sequence[int] = (),
    **changes: Any,
) -> RunSummary:
    """Return the summary of a run whose network was priced and never trained.

    Args:
        network: The network.
        bounds: Of the partition; by default Flash and RAM as the paper has them.
        encodings: Offered on the wire.
        offered: Layers after which the bundle has a point; by default all.
        changes: Fields of the summary that differ.
    """
    bounds = bounds or Bounds(flash_bytes=8192, ram_bytes=16384)
    recipe = Recipe(
        name="case",
        version="1",
        task="five classes",
        network=NetworkConfig(network.lengths, network.channels, network.kernels),
        seed=3,
        partition=PartitionConfig(encodings=encodings, bounds=bounds),
    )
    footprints = network.footprints()
    kept = [footprints[i] for i in offered or range(len(footprints))]
    priced = price(network, PROFILES, encodings)
    points = tuple(
        _named(priced[footprint.point], index, footprint) for index, footprint in enumerate(kept)
    )
    names = PROFILES.devices[0].name, PROFILES.links[0].name
    choice = choose(points, bounds, "edge_energy", *names)
    manifest = _manifest(kept, points, choice)
    counts = dict.fromkeys(LABELS, 120)
    summary = RunSummary(
        recipe=recipe,
        data={
            "name": "mitbih",
            "protocol": "paper",
            "fingerprint": "0123456789abcdef",
            "counts": {"train": dict.fromkeys(LABELS, 562), "validation": counts, "test": counts},
        },
        labels=LABELS,
        is_synthetic=False,
        training=make_training(),
        rows=list_rows(points, bounds, *names),
        choice=choice,
        packed=Packed("ab" * 32, manifest, 4321),
        bundle="case-1.bundle",
        parameters=footprints[-1].operations.parameters,
        verified_windows=256,
        verified_error=1.5e-7,
    )
    return dataclasses.replace(summary, **changes)


def make_training(epochs: int = 6) -> TrainingRecord:
    """Return a training that was best in its last epoch but one."""
    told = tuple(
        Epoch(e, 2 / e, 2.2 / e, 0.9 - 1 / (e + 1), 0.88 - 1 / (e + 1))
        for e in range(1, epochs + 1)
    )
    return TrainingRecord(told, epochs - 1, TEST, TEST)


def make_statistics() -> StatisticsRecord:
    """Return five repeats with other seeds and three on other splits."""
    repeats = [Repeat("seed", i, 0, TEST, _moved(i)) for i in range(5)]
    repeats += [Repeat("split", 3, i, TEST, _moved(2 * i)) for i in range(1, 4)]
    return StatisticsRecord(tuple(repeats), 12.5, "five seeds and three splits")


def make_comparison() -> ComparisonRecord:
    """Return one row of every origin, one without an accuracy and one far off the scale."""
    return ComparisonRecord(
        (
            ComparatorRow(
                "random search",
                "measured",
                *(0.885, 0.015, 0.88, 1.5e-4, 2.2e-4, 1700, 30, 1, "int8", 300, 120.0),
            ),
            ComparatorRow("raw window", "calculated", edge_j=3e-5, point=0, encoding="int8"),
            ComparatorRow("AC-1", "printed", accuracy=0.395, edge_j=0.096e-3, note="table II"),
            ComparatorRow("VGG11", "printed", accuracy=0.921, edge_j=2.22),
        )
    )


def write_search(folder: Path, goals: Sequence[str]) -> SearchRecord:
    """Search as recipes/search.toml says with `goals`, scores made up; leave recipe and history."""
    text = (RECIPES / "search.toml").read_text(encoding="utf-8")
    shown = ", ".join(f'"{goal}"' for goal in goals)
    text = text.replace('objectives = ["accuracy"]', f"objectives = [{shown}]")
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.search is not None
    bounds = recipe.partition.bounds
    terms = Terms(PROFILES, bounds, "edge_energy", recipe.partition.encodings)
    problem = Problem(
        network=recipe.network,
        classes=5,
        config=recipe.search,
        assess=lambda genome: assess(genome, terms),
        evaluate=_made_up,
        goals=recipe.search.objectives,
        limits={"edge_energy": bounds.edge_j},
    )
    earlier = continue_history(RunFolder(folder), recipe.search.objectives, recipe.seed)
    writer = SearchHistoryWriter(recipe.search, RunFolder(folder), lambda *_: None, earlier)
    record = search(problem, recipe.seed, writer)
    writer.found(record.winner)
    RunFolder(folder).write_record("search.json", record)
    return record


def _made_up(candidates: Sequence[Candidate]) -> Iterator[tuple[int, tuple[float, float]]]:
    for i, candidate in enumerate(candidates):
        network = candidate.genome
        known = sum(n * c for n, c in zip(network.lengths, network.channels, strict=True))
        yield i, (known % 97 / 97, known % 89 / 89)


def _moved(windows: int) -> list[list[int]]:
    """Return TEST with so many windows of the first class given the second."""
    (right, wrong, *others), *rest = TEST
    return [[right - windows, wrong + windows, *others], *rest]


def _named(point: Point, index: int, footprint: HeadFootprint) -> Point:
    spec = TensorSpec(f"h{footprint.point}", "float32", (-1, footprint.activation_values))
    wires = tuple(
        msgspec.structs.replace(w, accuracy=0.9, affine={spec.name: Affine(0.1, 0)})
        if w.encoding in {Encoding.INT8, Encoding.INT4}
        else msgspec.structs.replace(w, accuracy=0.91)
        for w in point.encodings
    )
    return msgspec.structs.replace(point, index=index, activation=(spec,), encodings=wires)


def _manifest(kept: Sequence[HeadFootprint], points: tuple[Point, ...], choice: Choice) -> Manifest:
    specs = [point.activation[0] for point in points]
    digest = "0" * 64
    segments = tuple(
        Segment(
            Member(f"segments/{i}.onnx", digest, 100),
            (specs[i],),
            (specs[i + 1],),
            _between(before.operations, after.operations),
        )
        for i, (before, after) in enumerate(itertools.pairwise(kept))
    )
    return Manifest(
        format_version=1,
        name="case",
        version="1",
        task="five classes",
        labels=LABELS,
        inputs=(specs[0],),
        outputs=(specs[-1],),
        preprocess=(),
        segments=segments,
        points=points,
        default_point=choice.point,
        default_encoding=choice.encoding,
        samples=Member("samples.npz", digest, 100),
        report=Member("report.json", digest, 100),
        metrics=(),
        lineage=Lineage(recipe={}, data={}, is_synthetic=False, seed=3, packages={}),
    )


def _between(before: Operations, after: Operations) -> Operations:
    """Return what a head has more than a shorter one."""
    fields = Operations.__struct_fields__
    return Operations(**{f: getattr(after, f) - getattr(before, f) for f in fields})
