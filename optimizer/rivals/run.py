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
from optimizer.rivals.record import RivalsRecord, Tested, TestedRecord
from optimizer.rivals.rows import summarise
from optimizer.rivals.table import markdown
from optimizer.run_folder import RunFolder

OWNER, TESTED, RECORD, TABLE, PLOT = (
    "contest.json", "tested.json", "rivals.json", "rivals.md", "rivals.svg",
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
    tested = None
    if request.is_tested:
        tested = folder.read_record(TESTED, TestedRecord)
        if tested is None:
            tested = _test(contest, recipe, reporter)
            folder.write_record(TESTED, tested)
    record = summarise(contest, tested)
    folder.write_record(RECORD, record)
    folder.write(TABLE, markdown(record).encode())
    folder.write(PLOT, draw_rivals(record).encode())
    return record


def _test(contest: Contest, recipe: RivalsRecipe, reporter: Reporter) -> TestedRecord:
    """Look at the test images once, all methods together; then let the models take turns."""
    cells, methods, split = [], methods_of(recipe), contest.dataset.test
    with reporter.stage("test and time") as advance:
        for number, seed in enumerate(recipe.seeds):
            models = {m: contest.models(seed, m) for m in methods}
            contents = [m.after for m in models.values()]
            measured = measure_latencies(contents, recipe.rivals.rounds, clock=time.thread_time)
            latencies = dict(zip(methods, measured, strict=True))
            for method, files in models.items():
                median_s = latencies[method].median_s
                cells.append(
                    Tested(
                        method=method,
                        seed=seed,
                        before=accuracy_of(files.before, split),
                        accuracy=score_onnx(files.after, split).accuracy,
                        latency_s=median_s,
                        latency_ratio=median_s / latencies["unpruned"].median_s,
                    )
                )
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
