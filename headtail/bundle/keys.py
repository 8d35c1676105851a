"""Signing and trust: Ed25519 keys in PEM files.

A writer signs with `--key FILE` (private, PKCS#8 PEM). A reader trusts every `*.pub` (public, SPKI
PEM) of `--trust DIR`. Where neither is named, a development key under `~/.config/headtail` serves:
made on first use by whoever signs, and trusted on the same machine only.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headtail.errors import ConfigError, SignatureInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# SubjectPublicKeyInfo of an Ed25519 key is this prefix and 32 bytes (RFC 8410, section 4). Reading
# it by hand spares the agent `cryptography`'s serialization module (3 MB resident).
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PEM_BEGIN, _PEM_END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
MAX_KEY_BYTES = 4096
MAX_SIGNATURE_BYTES = 1024


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ed25519"):
    """The bundle's member `signature`."""

    key_id: str
    signature: bytes


def key_id(public: bytes) -> str:
    """Return the short name of a public key: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def config_folder() -> Path:
    """Return where this user's keys live."""
    return Path.home() / ".config" / "headtail"


def default_key() -> Path:
    """Return the path of the development key."""
    return config_folder() / "development.key"


def default_trust() -> Path:
    """Return the folder of keys trusted where no other is named."""
    return config_folder() / "trust"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that vouches for manifests."""

    private: "Ed25519PrivateKey"

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, manifest: bytes) -> bytes:
        """Return the bundle's `signature` member for a canonical manifest."""
        return msgspec.json.encode(Signature(key_id(self.public), self.private.sign(manifest)))


@dataclass(frozen=True, slots=True)
class Trust:
    """The public keys whose bundles are accepted, by key id."""

    keys: Mapping[str, bytes]
    where: str

    def verify(self, manifest: bytes, signature: bytes, bundle: str) -> str:
        """Return the id of the trusted key that signed `manifest`.

        Raises:
            SignatureInvalid: If no trusted key did.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            read = msgspec.json.decode(signature, type=Signature)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SignatureInvalid(bundle, f"cannot be read: {error}") from error
        public = self.keys.get(read.key_id)
        if public is None:
            raise SignatureInvalid(
                bundle, f"signed by key {read.key_id[:16]!r}, which is not trusted in {self.where}"
            )
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(read.signature, manifest)
        except InvalidSignature as error:
            raise SignatureInvalid(bundle, "the manifest was changed after signing") from error
        return read.key_id


def read_signer(path: Path | None = None) -> Signer:
    """Read a private key; without a path, the development key, made on first use.

    Raises:
        ConfigError: If the file is missing or holds no Ed25519 private key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if path is None:
        path = default_key()
        if not path.exists():
            write_key_pair(path, default_trust() / "development.pub")
    try:
        key = load_pem_private_key(_read_small(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(str(path), f"expected an unencrypted PEM private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(str(path), f"expected an Ed25519 key, received {type(key).__name__}")
    return Signer(key)


def read_trust(folder: Path | None = None) -> Trust:
    """Read every `*.pub` of a folder; without one, the default trust folder.

    Raises:
        ConfigError: If the folder holds no key, or a file in it is no Ed25519 public key.
    """
    folder = default_trust() if folder is None else folder
    keys = {}
    for path in sorted(folder.glob("*.pub")):
        public = read_public(path)
        keys[key_id(public)] = public
    if not keys:
        raise ConfigError(
            str(folder), "no trusted keys (*.pub) here; name their folder with --trust DIR"
        )
    return Trust(keys, str(folder))


def write_key_pair(private_path: Path, public_path: Path) -> None:
    """Make a key pair; the private file is readable by its owner alone.

    Raises:
        ConfigError: If the private file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    spki = base64.b64encode(_SPKI_PREFIX + key.public_key().public_bytes_raw()).decode("ascii")
    try:
        for folder in (private_path.parent, public_path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        # The public half first: a half-made pair must not leave a key nobody trusts.
        public_path.write_text(f"{_PEM_BEGIN}\n{spki}\n{_PEM_END}\n", encoding="ascii")
        handle = os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
    except OSError as error:
        raise ConfigError(str(private_path), f"cannot write the key pair: {error}") from error


def read_public(path: Path) -> bytes:
    """Read the 32 bytes of a public key.

    Raises:
        ConfigError: If the file is missing or holds no Ed25519 public key.
    """
    lines = _read_small(path).decode("ascii", errors="replace").split()
    text = " ".join(lines)
    try:
        if not (text.startswith(_PEM_BEGIN) and text.endswith(_PEM_END)):
            raise ValueError("no PEM public key")
        body = text[len(_PEM_BEGIN) : -len(_PEM_END)].replace(" ", "")
        der = base64.b64decode(body, validate=True)
        if len(der) != len(_SPKI_PREFIX) + 32 or not der.startswith(_SPKI_PREFIX):
            raise ValueError("not an Ed25519 key")
    except (ValueError, binascii.Error) as error:
        raise ConfigError(str(path), f"expected an Ed25519 public key in PEM: {error}") from error
    return der[len(_SPKI_PREFIX) :]


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot read the key: {error.strerror}") from error
    if len(data) > MAX_KEY_BYTES:
        raise ConfigError(str(path), f"expected a key of at most {MAX_KEY_BYTES} bytes")
    return data
