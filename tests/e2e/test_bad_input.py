"""Bad input to the real programs: one clear line, exit 1, nothing half-written."""

import re
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from programs import Program, running

pytestmark = pytest.mark.e2e
Run = Callable[..., "subprocess.CompletedProcess[str]"]
WriteBundle = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(tmp_path: Path, write_test_bundle: WriteBundle) -> Path:
    """Return a good bundle, alone in its folder."""
    return write_test_bundle(tmp_path / "bundles")


@pytest.fixture
def flags(key_folder: Path) -> list[str | Path]:
    """Return how to trust the tests' key."""
    return ["--trust", key_folder / "trust"]


def truncate(path: Path) -> None:
    """Keep the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_foreign(path: Path) -> None:
    """Put some other file in its place."""
    path.write_text("<html>404</html>")


def traverse(path: Path) -> None:
    """Add a member that points outside."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.onnx", b"evil")


def bomb(path: Path) -> None:
    """Let a member unpack to 256 MiB."""
    members = {}
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(256 << 20) if name == "segments/0.onnx" else content)


def exchange(path: Path) -> None:
    """Change one segment."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            changed = content[:-1] + bytes([content[-1] ^ 1])
            archive.writestr(name, changed if name == "segments/1.onnx" else content)


DAMAGE = {
    truncate: "no readable zip file",
    make_foreign: "no readable zip file",
    traverse: "points outside the bundle",
    bomb: r"segments/0\.onnx': expected at most \d+ bytes, received 268435456",
    exchange: r"segments/1\.onnx': expected SHA-256",
}


def check_one_line(process: "subprocess.CompletedProcess[str]", pattern: str) -> None:
    """Check that a program failed with one line that says what is wrong, and no traceback."""
    errors = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    assert len(errors) == 1, process.stderr
    assert re.search(pattern, errors[0]), errors[0]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_a_damaged_bundle_stops_every_reader(
    run: Run,
    bundle: Path,
    flags: list[str | Path],
    damage: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    """Fog and edge refuse it in the same words, and the edge leaves no sink file behind."""
    damage(bundle)
    sink = tmp_path / "out.jsonl"
    fog = run("fog-server", "--bundles", bundle.parent, "--listen", "127.0.0.1:0", *flags)
    edge = run(
        *("edge-agent", "run", "--bundle", bundle, "--point", "3", "--source", "stdin"),
        *("--sink", f"jsonl:{sink}", *flags),
    )
    for process in (fog, edge):
        check_one_line(process, DAMAGE[damage])
    assert not sink.exists()


def test_a_re_signed_bundle_is_refused(
    run: Run, bundle: Path, tmp_path: Path, write_test_bundle: WriteBundle
) -> None:
    """A valid signature by a key that this user does not trust."""
    empty = tmp_path / "trust"
    empty.mkdir()
    (empty / "other.pub").write_text(
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )
    process = run("fog-server", "--bundles", bundle.parent, "--trust", empty)
    check_one_line(process, "signature invalid: signed by key '[0-9a-f]{16}', which is not trusted")


def test_a_failed_self_test_stops_the_fog(
    run: Run, tmp_path: Path, flags: list[str | Path], write_test_bundle: WriteBundle
) -> None:
    write_test_bundle(tmp_path / "bad", corrupt=True)
    process = run("fog-server", "--bundles", tmp_path / "bad", *flags)
    check_one_line(process, r"chain 1\.0\.0: self-test of output 'y': expected a relative error")


@pytest.mark.parametrize("flag", ["--listen", "--metrics"])
def test_a_port_in_use_is_named(run: Run, bundle: Path, flags: list[str | Path], flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        # Given twice, the last one counts.
        listen = ("--listen", "127.0.0.1:0", flag, address)
        process = run("fog-server", "--bundles", bundle.parent, *listen, *flags)
        check_one_line(process, f"{flag}: cannot listen on {address}: Address already in use")


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("--bundles", "nowhere"), "bundles: 'nowhere' is not a folder"),
        (("--bundles", "."), r"bundles: no \*\.bundle in '\.'"),
        (("--config", "nowhere.toml"), r"nowhere\.toml: cannot be read"),
        (("--bundles", ".", "--trust", "nowhere"), r"nowhere: no trusted keys"),
        ((), "name the folder of bundles with --bundles DIR"),
    ],
)
def test_the_fog_names_what_is_missing(
    run: Run, arguments: tuple[str, ...], pattern: str, flags: list[str | Path]
) -> None:
    check_one_line(run("fog-server", *flags, *arguments), pattern)


def npz(path: Path, **arrays: np.ndarray) -> str:
    """Write an .npz and return it as a source."""
    np.savez(path, **arrays)
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("arrays", "pattern"),
    [
        ({"x": np.zeros((2, 16, 3), np.float32)}, r"expected shape .*16, 2.*received .*16, 3"),
        ({"x": np.full((2, 16, 2), np.nan, np.float32)}, "NaN or inf"),
        ({"x": np.array([["a"]])}, "expected .*received|numbers"),
        ({"y": np.zeros(3)}, "array 'x' is missing"),
    ],
    ids=["shape", "nan", "text", "name"],
)
def test_windows_that_do_not_fit_are_named(
    run: Run,
    bundle: Path,
    flags: list[str | Path],
    tmp_path: Path,
    arrays: dict[str, np.ndarray],
    pattern: str,
) -> None:
    source = npz(tmp_path / "in.npz", **arrays)
    command = ("edge-agent", "run", "--bundle", bundle, "--point", "3", "--source", source)
    check_one_line(run(*command, *flags), pattern)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        (("--source", "npz:gone.npz"), r"gone\.npz"),
        (("--source", "wfdb:gone"), "gone"),
        (("--source", "images:gone"), "gone"),
        (("--source", "ftp:x"), "expected wfdb:RECORD"),
        (("--sink", "jsonl:/nowhere/x.jsonl"), "/nowhere"),
        (("--point", "9"), "--point: expected auto or 0 to 3, received '9'"),
        (("--encoding", "int3"), "int3"),
        (("--device-profile", "abacus"), "device profile 'abacus'"),
        (("--metrics", "nowhere"), "--metrics: expected HOST:PORT"),
    ],
)
def test_the_edge_names_what_is_wrong(
    run: Run,
    bundle: Path,
    flags: list[str | Path],
    changes: tuple[str, str],
    pattern: str,
    tmp_path: Path,
) -> None:
    source = npz(tmp_path / "in.npz", x=np.zeros((1, 16, 2), np.float32))
    command = ("edge-agent", "run", "--bundle", bundle, "--point", "3", "--source", source)
    profiles = ("--device-profile", "stm32l476-paper", "--link-profile", "ble-paper")
    check_one_line(run(*command, *profiles, *flags, *changes), pattern)


@pytest.fixture
def fog(bundle: Path, flags: list[str | Path], tmp_path: Path) -> Iterator[Program]:
    """Run a fog server with the good bundle."""
    command = ["fog-server", "--bundles", bundle.parent, "--listen", "127.0.0.1:0", *flags]
    with running(command, tmp_path / "fog.log") as program:
        program.wait_for(r"serving on (\S+)")
        yield program


def test_a_bundle_the_fog_does_not_serve_ends_the_run(
    run: Run,
    fog: Program,
    tmp_path: Path,
    flags: list[str | Path],
    write_test_bundle: WriteBundle,
) -> None:
    """No repetition would mend it, so the agent does not fall back for ever in silence."""
    other = write_test_bundle(tmp_path / "other", name="other")
    address = fog.wait_for(r"serving on (\S+)")
    source = npz(tmp_path / "in.npz", x=np.zeros((1, 16, 2), np.float32))
    process = run(
        *("edge-agent", "run", "--bundle", other, "--fog", address, "--source", source, *flags)
    )
    check_one_line(process, "model 'other-tail1-float32'.*not served here")


@pytest.mark.tf
@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("seed =", "sead =", r"recipe\.toml: .*unknown field `sead`"),
        ('source = "synthetic"', 'source = "nowhere"', r"recipe\.toml: .*data"),
        ('source = "synthetic"', 'source = "npz"\npath = "gone.npz"', r"gone\.npz"),
        ('source = "synthetic"', 'source = "mitbih"\npath = "gone"', "gone"),
    ],
    ids=["key", "value", "npz", "mitbih"],
)
def test_a_wrong_recipe_makes_no_bundle(
    run: Run, tmp_path: Path, old: str, new: str, pattern: str
) -> None:
    """The file and the key, or the data that is missing, are named."""
    text = (ROOT / "recipes" / "synthetic.toml").read_text()
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new, 1))
    process = run("optimizer", "run", tmp_path / "recipe.toml", "--out", tmp_path / "out")
    check_one_line(process, pattern)
    assert [] == list(tmp_path.rglob("*.bundle"))


@pytest.mark.tf
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(100)])
def test_a_file_that_is_no_model_is_not_split(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    out = tmp_path / "out.bundle"
    process = run("optimizer", "split", tmp_path / "model.onnx", "--out", out, HOME=str(tmp_path))
    check_one_line(process, r"model\.onnx")
    assert not out.exists()


@pytest.mark.tf
def test_inspecting_a_damaged_bundle_is_one_line(
    run: Run, bundle: Path, flags: list[str | Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copy(bundle, tmp_path / "copy.bundle"))
    exchange(copy)
    check_one_line(run("optimizer", "inspect", copy, *flags), "expected SHA-256")
