"""A whole comparison: cells, one look at the test images, the clock, the table."""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headtail.errors import ConfigError
from optimizer.data.load import load
from optimizer.images.costs import measure_latencies
from optimizer.progress import Reporter
from optimizer.recipe.rivals import RivalsRecipe, read_rivals_recipe
from optimizer.rivals.contest import Contest, accuracy_of, digest_of, methods_of
from optimizer.rivals.onnx_scores import score_onnx
from optimizer.rivals.plot import draw_rivals
from optimizer.rivals.record import RivalsRecord, Tested, TestedRecord, Timed, TimedRecord
from optimizer.rivals.rows import summarise
from optimizer.rivals.table import markdown
from optimizer.run_folder import RunFolder

OWNER, TIMED, TESTED, RECORD, TABLE, PLOT = (
    "contest.json", "timed.json", "tested.json", "rivals.json", "rivals.md", "rivals.svg",
)  # fmt: skip


class _Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `contest.json`: whose folder this is."""

    recipe_sha256: str


@dataclass(frozen=True, slots=True)
class RivalsRequest:
    """What is asked for."""

    recipe: Path
    out: Path
    is_tested: bool = True
    """Whether the test images are looked at; else the table is of the validation images."""


def run_rivals(request: RivalsRequest, reporter: Reporter) -> RivalsRecord:
    """Make the table of a recipe in a folder, where an interrupted comparison goes on.

    The folder then holds `rivals.json`, `rivals.md`, `rivals.svg`, and for each seed the models.

    Raises:
        HeadtailError: If the recipe is wrong, the folder another recipe's, data missing, or a
            network cannot be trained, pruned or exported.
    """
    recipe = read_rivals_recipe(request.recipe)
    folder = _open(request, recipe)
    with reporter.stage("load data") as advance:
        dataset = load(recipe.data, lambda what, done, total: advance(done, total, what))
    contest = Contest(recipe, dataset, folder)
    contest.make(reporter)
    timed = folder.read_record(TIMED, TimedRecord)
    if timed is None:
        timed = _time(contest, recipe, reporter)
        folder.write_record(TIMED, timed)
    tested = folder.read_record(TESTED, TestedRecord) if request.is_tested else None
    if tested is None and request.is_tested:
        tested = _test(contest, recipe, reporter)
        folder.write_record(TESTED, tested)
    record = summarise(contest, timed, tested)
    folder.write_record(RECORD, record)
    folder.write(TABLE, markdown(record).encode())
    folder.write(PLOT, draw_rivals(record).encode())
    return record


def _time(contest: Contest, recipe: RivalsRecipe, reporter: Reporter) -> TimedRecord:
    """Let the models of each seed take turns in onnxruntime."""
    cells, methods = [], methods_of(recipe)
    with reporter.stage("time in onnxruntime") as advance:
        for number, seed in enumerate(recipe.seeds):
            contents = [contest.models(seed, method).after for method in methods]
            measured = measure_latencies(contents, recipe.rivals.rounds, clock=time.thread_time)
            unpruned_s = measured[0].median_s
            cells += [
                Timed(method, seed, latency.median_s, latency.median_s / unpruned_s)
                for method, latency in zip(methods, measured, strict=True)
            ]
            advance(number + 1, len(recipe.seeds), f"seed {seed}")
    return TimedRecord(tuple(cells))


def _test(contest: Contest, recipe: RivalsRecipe, reporter: Reporter) -> TestedRecord:
    """Look at the test images once, all methods together."""
    cells, split = [], contest.dataset.test
    with reporter.stage("test") as advance:
        for number, seed in enumerate(recipe.seeds):
            for method in methods_of(recipe):
                files = contest.models(seed, method)
                before = accuracy_of(files.before, split)
                accuracy = score_onnx(files.after, split).accuracy
                cells.append(Tested(method, seed, before, accuracy))
            advance(number + 1, len(recipe.seeds), f"seed {seed}")
    return TestedRecord(tuple(cells))


def _open(request: RivalsRequest, recipe: RivalsRecipe) -> RunFolder:
    folder, owner = RunFolder(request.out), _Owner(digest_of(recipe))
    found = folder.read_record(OWNER, _Owner)
    if found is not None and found != owner:
        raise ConfigError(
            f"--out {request.out}", "holds the rivals of another recipe; name another folder"
        )
    if found is None and request.out.is_dir() and any(request.out.iterdir()):
        raise ConfigError(
            f"--out {request.out}", "holds files that are no rivals; name a new or empty folder"
        )
    folder.write("recipe.toml", request.recipe.read_bytes())
    folder.write_record(OWNER, owner)
    return folder
