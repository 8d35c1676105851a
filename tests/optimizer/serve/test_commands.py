"""The commands that ask the job service, as somebody types them."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from serve_case import RECIPE, request

from optimizer import cli
from optimizer.serve.job import Progress, State
from optimizer.serve.job_text import duration_text
from optimizer.serve.store import JobStore
from optimizer.serve.submit_command import parse_size
from optimizer.serve.watch_command import Bar


class Shell:
    """The commands, as somebody types them."""

    def __init__(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._address = address
        self._capsys = capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error of a command."""
        code = cli.main([*map(str, words), "--optimizer", self._address, "--retry-s", "0"])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def shell(start, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(start().address, capsys)


def write_recipe(folder: Path, task: str) -> Path:
    """Write a recipe and return its path."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(task=task))
    return path


def test_commands_take_a_job_from_end_to_end(shell, tmp_path) -> None:
    """For people, and as JSON."""
    recipe = write_recipe(tmp_path, "steps=2")
    code, out, _ = shell("submit", recipe, "--reason", "drift", "--key", "k", "--memory", "1G")
    job = out.strip()
    assert (1, "") == shell("submit", recipe, "--bundle-version", "v2")[:2]
    assert (0, True) == (code, job.startswith("chain-"))
    assert (0, f"{job}\n", "") == shell("submit", recipe, "--key", "k", "--memory", "1G")
    code, out, err = shell("watch", job)
    assert (0, "done") == (code, out.splitlines()[-1])
    assert err.startswith(f"job {job}: succeeded, chain-1.bundle ")
    code, out, _ = shell("jobs")
    header, row = out.splitlines()
    assert header.split() == ["JOB", "STATE", "PROGRESS", "TIME", "REASON"]
    assert row.split()[:2] + row.split()[-1:] == [job, "succeeded", "drift"]
    code, out, _ = shell("jobs", job, "--json")
    assert ("succeeded", "drift", 1 << 30) == (
        json.loads(out)["state"],
        json.loads(out)["reason"],
        json.loads(out)["resources"]["memory_bytes"],
    )
    assert (0, "done\n", "") == shell("logs", job, "--last", 1)
    assert "done" == json.loads(shell("logs", job, "--last", 1, "--json")[1])["text"]
    code, out, _ = shell("fetch", job, "--to", tmp_path / "out")
    assert [
        str(tmp_path / "out" / n) for n in ("chain-1.bundle", "report.json")
    ] == out.splitlines()
    code, out, _ = shell("watch", job, "--json")
    assert "succeeded" == json.loads(out.splitlines()[-1])["job"]["state"]
    code, out, _ = shell("cancel", job)
    assert (0, True) == (code, out.startswith(f"job {job}: succeeded"))


@pytest.mark.parametrize(
    ("end", "code", "text"), [("error", 3, "failed: no such data"), ("well", 0, "succeeded, chain")]
)
def test_exit_code_says_how_a_job_ended(end, code, text, shell, tmp_path) -> None:
    recipe = write_recipe(tmp_path, f"end={end}")
    found, _, err = shell("submit", recipe, "--watch", "--memory", "1G")
    assert code == found
    assert text in err


def test_recipes_of_images_are_taken_too(shell, tmp_path) -> None:
    """As they are, by the service and by the command; backbones' files are not."""
    recipe = tmp_path / "recipe.toml"
    text = 'name = "weeds"\nversion = "1"\ntask = "which"\n[data]\nsource = "cifar10_small"\n'
    recipe.write_text(f'{text}[backbone]\nnetwork = "VGG16"\n')
    code, out, _ = shell("submit", recipe, "--memory", "1G")
    assert (0, True) == (code, out.startswith("weeds-"))
    recipe.write_text(f'{text}[backbone]\nnetwork = "/etc/net.keras"\n')
    code, _, err = shell("submit", recipe, "--memory", "1G")
    assert 0 != code
    assert "backbone.network" in err


def test_cancelled_and_late_have_codes_of_their_own(shell, tmp_path) -> None:
    recipe = write_recipe(tmp_path, "steps=9999 ms=50")
    job = shell("submit", recipe, "--memory", "1G")[1].strip()
    code, _, err = shell("watch", job, "--timeout-s", "0.5")
    assert (5, f"error: job {job} is not over after 0.5 s\n") == (code, err)
    assert 0 == shell("cancel", job, "--wait")[0]
    assert 4 == shell("watch", job)[0]


def test_mistakes_at_the_shell_are_one_line(shell, tmp_path, capsys) -> None:
    """Exit code 1, or 6 where nobody is there."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("name = 1")
    code, out, err = shell("submit", wrong)
    assert (1, "") == (code, out)
    assert err == f"error: {wrong}: Expected `str`, got `int` - at `$.name`\n"
    assert (1, "", 1) == (
        *shell("jobs", "nosuch")[:2],
        len(shell("jobs", "nosuch")[2].splitlines()),
    )
    code = cli.main(["jobs", "--optimizer", "127.0.0.1:1", "--retry-s", "0"])
    assert 6 == code
    assert capsys.readouterr().err.startswith("error: optimizer 127.0.0.1:1: unavailable: ")
    assert 1 == cli.main(["jobs", "--optimizer", "10.0.0.1:1"])
    assert "--optimizer: 10.0.0.1:1 is not this machine" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["submit", str(wrong), "--memory", "lots"])
    assert "expected a size as 512M or 4G, received 'lots'" in capsys.readouterr().err


def test_bar_shows_where_a_job_is(tmp_path) -> None:
    """Its stage, how far that is, and what it waits for before."""
    store = JobStore(tmp_path / "jobs.sqlite3")
    job = store.add(request(), 1)[0]
    store.close()
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=80)) as bar:
        for shown in (
            job,
            replace(job, state=State.RUNNING, progress=Progress("train", 3, 20, "loss 0.1")),
        ):
            bar.show(shown)
            bar.refresh()
    text = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"^queued .* 0/\?", text, re.MULTILINE)
    assert re.search(r"train .* 3/20 0:00:00 loss 0\.1", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7265, "2 h 1 min"), (180000, "2 d 2 h")],
)
def test_times_are_in_their_two_largest_units(seconds, text) -> None:
    assert text == duration_text(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("512M", 512 << 20), ("4G", 4 << 30), ("1KiB", 1024)]
)
def test_sizes_have_units_of_1024(text, size) -> None:
    assert size == parse_size(text)
