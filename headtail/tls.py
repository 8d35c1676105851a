"""Mutual TLS between our programs: their files, and channels that use them.

gRPC's Python interface has no setting for the lowest TLS version. `require_tls13` closes 1.2 by
leaving it no cipher that could be agreed on; it must be called before gRPC is first used.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headtail.config import parse_address
from headtail.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    import grpc

# The list rules TLS 1.2 alone; 1.3 has its own suites, always on. This suite needs a pre-shared
# key, and nobody here has one, so no 1.2 handshake finds a cipher.
CIPHERS_VARIABLE, NO_TLS12_CIPHER = "GRPC_SSL_CIPHER_SUITES", "ECDHE-PSK-CHACHA20-POLY1305"
MAX_PEM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one program needs to be known and to know others."""

    ca: Path
    """PEM certificates of the authorities trusted; several while one replaces another."""
    cert: Path
    """PEM certificate of this program."""
    key: Path
    """PEM private key of this program, unencrypted."""


class ClientTls(TlsFiles):
    """The files of a program that calls; read anew for every channel, so they may be rotated."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pem:
    """The files' content, checked to belong together."""

    ca: bytes
    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pem(…)"  # a private key has no place in a log


def require_tls13() -> None:
    """Make every TLS handshake of this process 1.3 or fail; call it before gRPC is used."""
    os.environ[CIPHERS_VARIABLE] = NO_TLS12_CIPHER


def choose_files(ca: str, cert: str, key: str) -> ClientTls | None:
    """Return the files that three settings name; None where none is set.

    Raises:
        ConfigError: If some are set and some are not.
    """
    given = {"--tls-ca": ca, "--tls-cert": cert, "--tls-key": key}
    missing = [flag for flag, path in given.items() if not path]
    if len(missing) == len(given):
        return None
    if missing:
        raise ConfigError(missing[0], "--tls-ca, --tls-cert and --tls-key are needed together")
    return ClientTls(Path(ca), Path(cert), Path(key))


def read_pem(files: TlsFiles) -> Pem:
    """Read the files and check that they are certificates and that the key fits.

    Raises:
        ConfigError: Naming the file, if one is missing, is no PEM, or the key is another's.
    """
    pem = Pem(*(_read(path) for path in (files.ca, files.cert, files.key)))
    # Only a program with TLS pays for this module. It takes the files again, not the bytes: a
    # caller that reloads compares the files' stamps before and after.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(files.ca)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(str(files.ca), f"holds no PEM certificates: {_reason(error)}") from error
    try:
        context.load_cert_chain(files.cert, files.key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            str(files.key), f"is not the private key of {files.cert}: {_reason(error)}"
        ) from error
    return pem


def secure_channel(
    address: str, tls: ClientTls | None, options: Sequence[tuple[str, int]]
) -> "grpc.Channel":
    """Return a channel to HOST:PORT: mutual TLS with `tls`, plaintext without.

    The other side must hold a certificate of the authority, for this host, made for servers.

    Raises:
        ConfigError: If a file of `tls` is not usable.
    """
    import grpc

    if tls is None:
        return grpc.insecure_channel(address, options=options)
    pem = read_pem(tls)
    credentials = grpc.ssl_channel_credentials(pem.ca, pem.key, pem.cert)
    return grpc.secure_channel(address, credentials, options=options)


def client_context(tls: ClientTls, protocols: Sequence[str]) -> "ssl.SSLContext":
    """Return what a client shakes hands with: as `secure_channel`, for a socket.

    Args:
        tls: Our certificate, and whom we trust.
        protocols: What the client offers to speak, the best first.

    Raises:
        ConfigError: If a file of `tls` is not usable.
    """
    read_pem(tls)
    import ssl

    return _context(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls, protocols)


def server_context(files: TlsFiles, protocols: Sequence[str]) -> "ssl.SSLContext":
    """Return the server's side of `client_context`: every client must show a certificate.

    Raises:
        ConfigError: If a file is not usable.
    """
    read_pem(files)
    import ssl

    context = _context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files, protocols)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(
    context: "ssl.SSLContext", files: TlsFiles, protocols: Sequence[str]
) -> "ssl.SSLContext":
    import ssl

    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([*protocols])
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.cert, files.key, password="")
    except (OSError, ValueError) as error:  # they were replaced meanwhile
        raise ConfigError(str(files.cert), f"cannot be used: {_reason(error)}") from error
    return context


def check_plaintext(address: str, *, is_allowed: bool, where: str) -> None:
    """Raise where plaintext would leave this machine and nobody allowed it.

    Raises:
        ConfigError: Naming the flag `where` that the address came from.
    """
    host, _ = parse_address(address, where)
    if not is_allowed and not is_loopback(host):
        raise ConfigError(
            where,
            f"{address} is not this machine: name --tls-ca, --tls-cert and --tls-key,"
            " or allow plaintext with --insecure",
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, without asking a name server."""
    if host == "localhost":
        return True
    try:
        if ":" in host:
            return socket.inet_pton(socket.AF_INET6, host) == socket.inet_pton(
                socket.AF_INET6, "::1"
            )
        return socket.inet_pton(socket.AF_INET, host)[0] == 127  # 127.0.0.0/8, RFC 1122, 3.2.1.3
    except OSError:
        return False


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_PEM_BYTES:
        raise ConfigError(str(path), f"expected at most {MAX_PEM_BYTES} bytes")
    return data


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error).splitlines()[0].lower().replace("_", " ")
