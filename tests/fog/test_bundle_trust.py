"""Bundles that must not be served: each stops the fog with one line that names it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fog_server.cli import main
from headtail.bundle import read_bundle, write_bundle
from headtail.bundle.keys import Trust, read_signer, write_key_pair


def members(path: Path) -> dict[str, bytes]:
    """Return what a bundle holds, by name."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(path: Path, contents: dict[str, bytes]) -> None:
    """Write a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)


def unsigned(path: Path, trust: Trust) -> None:
    """Take the signature out."""
    contents = members(path)
    del contents["signature"]
    pack(path, contents)


def foreign(path: Path, trust: Trust) -> None:
    """Sign the same content with a key that nobody trusts."""
    bundle = read_bundle(path, trust)
    write_key_pair(path.parent / "thief.key", path.parent / "thief.pub.txt")
    signer = read_signer(path.parent / "thief.key")
    write_bundle(path, bundle.manifest, members(path), signer)


def resigned(path: Path, trust: Trust) -> None:
    """Sign with a foreign key in the name of the trusted one."""
    old = json.loads(members(path)["signature"])
    foreign(path, trust)
    contents = members(path)
    new = json.loads(contents["signature"])
    contents["signature"] = json.dumps(new | {"key_id": old["key_id"]}).encode()
    pack(path, contents)


def changed(path: Path, trust: Trust) -> None:
    """Put another segment under the signature."""
    contents = members(path)
    contents["segments/0.onnx"] = contents["segments/1.onnx"]
    pack(path, contents)


def traversing(path: Path, trust: Trust) -> None:
    """Add a member that points out of the bundle."""
    pack(path, members(path) | {"../../etc/cron.d/x": b"* * * * * root true"})


def bomb(path: Path, trust: Trust) -> None:
    """Let a member unpack to millions of times what the manifest says."""
    contents = members(path)
    pack(path, contents | {"report.json": bytes(32 << 20)})


def huge_manifest(path: Path, trust: Trust) -> None:
    """Let the manifest itself, which is read before anything is verified, be a bomb."""
    pack(path, members(path) | {"manifest.json": bytes(32 << 20)})


@pytest.fixture
def start(key_folder: Path, capsys) -> Callable[..., list[str]]:
    """Return a function that starts a fog which must not start, and returns what it says."""

    def run(folder: Path, *flags: str) -> list[str]:
        trust = str(key_folder / "trust")
        command = ["--bundles", str(folder), "--trust", trust, "--log-level", "warning"]
        assert main([*command, "--listen", "127.0.0.1:0", *flags]) == 1
        return capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unsigned, "member 'signature' is missing"),
        (foreign, "which is not trusted in"),
        (resigned, "the manifest was changed after signing"),
        (changed, "segments/0.onnx'"),
        (traversing, "member '../../etc/cron.d/x' points outside the bundle"),
        (bomb, "member 'report.json': expected at most 2 bytes"),
        (huge_manifest, "member 'manifest.json': expected at most"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bundle_that_is_not_ours_stops_the_fog(
    spoil, said, write_test_bundle, trust, start, tmp_path
) -> None:
    path = write_test_bundle(tmp_path / "bundles")
    spoil(path, trust)
    (line,) = start(path.parent)
    assert line.startswith(f"error: bundle {path}: ")
    assert said in line


def test_replayed_bundle_stops_the_fog(write_test_bundle, start, tmp_path, make_config) -> None:
    """One that was served before and was replaced by a newer one, rightly signed as it is."""
    from fog_server.server import FogServer

    folder = tmp_path / "bundles"
    old = write_test_bundle(tmp_path / "kept", version="1.9.0")
    new = write_test_bundle(folder, version="1.10.0")
    FogServer(make_config(bundles=str(folder))).drain()
    new.unlink()
    shutil.copy(old, folder)
    (line,) = start(folder)
    assert (
        "expected chain 1.10.0 or newer, which was installed before, received chain 1.9.0" in line
    )
    FogServer(make_config(bundles=str(folder), allow_older=True)).drain()
    FogServer(make_config(bundles=str(folder))).drain()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--listen", "0.0.0.0:0"], "--listen: 0.0.0.0:0 is not this machine"),
        (["--tls-ca", "ca.pem"], "--tls-cert: --tls-ca, --tls-cert and --tls-key are needed"),
        (["--tls-allow", "a.toml"], "--tls-allow: needs --tls-ca"),
    ],
)
def test_half_a_protection_is_none(flags, said, bundle_folder, start) -> None:
    """Plaintext leaves this machine only where --insecure says so."""
    (line,) = start(bundle_folder, *flags)
    assert said in line


def test_plaintext_is_served_to_others_when_asked_for(make_config) -> None:
    from fog_server.server import FogServer

    server = FogServer(make_config(listen="0.0.0.0:0", insecure=True))
    assert server.drain()
