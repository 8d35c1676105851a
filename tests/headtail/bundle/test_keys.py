"""Tests of signing keys and trust."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from headtail.bundle.keys import (
    MAX_KEY_BYTES,
    default_key,
    default_trust,
    key_id,
    read_signer,
    read_trust,
    write_key_pair,
)
from headtail.errors import ConfigError


def test_a_key_pair_signs_and_is_trusted(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "a.key", tmp_path / "trust" / "a.pub")
    signer, trust = read_signer(tmp_path / "a.key"), read_trust(tmp_path / "trust")
    assert key_id(signer.public) == trust.verify(b"manifest", signer.sign(b"manifest"), "b")


def test_the_private_key_is_its_owner_s_alone(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "a.key", tmp_path / "a.pub")
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "a.key", tmp_path / "a.pub")
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(ConfigError, match=r"a\.key: cannot write the key pair"):
        write_key_pair(tmp_path / "a.key", tmp_path / "a.pub")
    assert before == (tmp_path / "a.key").read_bytes()


def test_the_development_key_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first writer makes it; every reader on the machine trusts it by default."""
    monkeypatch.setenv("HOME", str(tmp_path))
    first = read_signer()
    assert first.public == read_signer().public
    assert {key_id(first.public)} == read_trust().keys.keys()
    assert tmp_path in default_key().parents
    assert tmp_path in default_trust().parents


def test_our_public_key_file_is_what_openssl_writes(tmp_path: Path) -> None:
    """The PEM read and written by hand is the standard one."""
    write_key_pair(tmp_path / "a.key", tmp_path / "a.pub")
    text = (tmp_path / "a.pub").read_bytes()
    public = serialization.load_pem_public_key(text)
    assert isinstance(public, Ed25519PublicKey)
    assert text == public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert [public.public_bytes_raw()] == list(read_trust(tmp_path).keys.values())


def test_another_kind_of_private_key_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "ec.key").write_bytes(pem)
    with pytest.raises(ConfigError, match=r"ec\.key: expected an Ed25519 key"):
        read_signer(tmp_path / "ec.key")


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe", bytes(MAX_KEY_BYTES + 1)])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.key").write_bytes(content)
    (tmp_path / "bad.pub").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.key: expected a"):
        read_signer(tmp_path / "bad.key")
    with pytest.raises(ConfigError, match=r"bad\.pub: expected a"):
        read_trust(tmp_path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.key: cannot read the key: No such file"):
        read_signer(tmp_path / "gone.key")
