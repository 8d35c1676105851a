"""The comparison stage of a run: every row made once, and kept in the run's folder when it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from optimizer.compare.compare import COMPARISON, ComparatorRow, ComparisonRecord
from optimizer.compare.contest import Contest
from optimizer.compare.printed import application, printed_rows
from optimizer.compare.raw import every_row, native_windows, raw_row
from optimizer.compare.search import method_row, own_row
from optimizer.compare.vgg import vgg_rows
from optimizer.progress import Advance, Reporter
from optimizer.run_folder import RunFolder
from optimizer.search.record import SearchRecord

FOLDER = "compare"
Rows = tuple[ComparatorRow, ...]


def compare_or_restore(
    contest: Contest, winner: SearchRecord | None, folder: RunFolder, reporter: Reporter
) -> ComparisonRecord:
    """Return the comparison that the recipe's [compare] asks for, from the folder where it is done.

    A finished row is never made again, and a search among them that was interrupted goes on. The
    test split is looked at once for each row and seed.

    Args:
        contest: What the rows are made from.
        winner: What the run's own search found; None where the recipe has no [search], and then
            no way of searching is compared.
        folder: The run's; finished rows lie in its folder `compare`.
        reporter: Told of each row.

    Raises:
        DataError: If windows cannot be sent as they are.
        ConfigError: If a loss leaves the finite numbers, or the folder cannot be read.
    """
    record = folder.read_record(COMPARISON, ComparisonRecord)
    if record is None:
        rows: list[ComparatorRow] = []
        for name, make in _makers(contest, winner, folder, reporter):
            rows += _make_or_restore(RunFolder(folder.path / FOLDER), name, make, reporter)
        printed = application(contest.recipe, contest.dataset.name)
        if printed is not None:
            rows += printed_rows(printed)
        record = ComparisonRecord(tuple(rows))
        folder.write_record(COMPARISON, record)
    return record


def describe_row(row: ComparatorRow) -> str:
    """Return a row in one line."""
    figures = [
        "no accuracy" if row.accuracy is None else f"test accuracy {row.accuracy:.3f}",
        "" if row.edge_j is None else f"{row.edge_j * 1e3:.4f} mJ on the edge",
        "" if row.parameters is None else f"{row.parameters} parameters",
        f"{row.trainings} trainings in {row.seconds:.1f} s",
    ]
    return f"{row.name}: {', '.join(filter(None, figures))}"


def _make_or_restore(
    folder: RunFolder, name: str, make: Callable[[], Rows], reporter: Reporter
) -> Rows:
    folder.path.mkdir(exist_ok=True)
    record = folder.read_record(f"{name}.json", ComparisonRecord)
    if record is None:
        record = ComparisonRecord(make())
        folder.write_record(f"{name}.json", record)
        for row in record.rows:
            reporter.say(describe_row(row))
    return record.rows


def _makers(
    contest: Contest, winner: SearchRecord | None, folder: RunFolder, reporter: Reporter
) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield what makes the rows that are not printed, with a name for their file."""

    def staged(name: str, make: Callable[[Advance], Rows]) -> Rows:
        with reporter.stage(f"compare: {name}") as advance:
            return make(advance)

    if winner is not None:
        yield "own", partial(staged, "own", lambda _: (own_row(contest, winner, folder),))
        for method in contest.config.methods:
            own = RunFolder(_made(folder.path / FOLDER / method))
            named = _Named(reporter, f"compare: {method}")
            yield method, partial(_single, method_row, contest, method, winner, own, named)
    native = native_windows(contest.dataset, contest.recipe)
    yield "raw", partial(staged, "raw window", lambda _: (raw_row(contest, native),))
    yield "every", partial(staged, "some samples", lambda _: (every_row(contest, native),))
    if contest.config.vgg_width:
        yield "vgg", partial(staged, "VGG11", lambda advance: vgg_rows(contest, native, advance))


def _single(make: Callable[..., ComparatorRow], *args: object) -> Rows:
    return (make(*args),)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


class _Named:
    """A reporter that calls every stage by one name and leaves out what is said between."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name

    def say(self, text: str) -> None:
        """Show nothing: the row is told when it is finished."""

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Show a stage by the comparison's name for it."""
        with self._reporter.stage(self._name) as advance:
            yield advance
