"""The server's side of TLS: its certificate, whose clients it takes, and how both are replaced."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from headtail.allow_list import AllowList, read_allow_list
from headtail.errors import ConfigError
from headtail.server.config import Tls
from headtail.server.reload import Watched
from headtail.tls import Pem, TlsFiles, choose_files, read_pem, server_context

LOOK_S = 1.0
"""How old the allow list that a call is held against may be."""


def tls_files(tls: Tls) -> TlsFiles | None:
    """Return the files that the settings name; None where TLS is off.

    Raises:
        ConfigError: If some settings are missing.
    """
    files = choose_files(tls.ca, tls.cert, tls.key)
    if files is None and tls.allow:
        raise ConfigError("--tls-allow", "needs --tls-ca, --tls-cert and --tls-key")
    if files is not None and not tls.allow:
        raise ConfigError("--tls-allow", "needed with TLS: the file that says who may do what")
    return files


def watch_allow_list(path: Path) -> Watched[AllowList]:
    """Return the allow list, kept up with its file.

    Raises:
        ConfigError: If the file is not usable.
    """
    return Watched([path], lambda: read_allow_list(path), LOOK_S)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that ask every client for a certificate, and follow their files.

    The files are looked at on every handshake; connections made before go on.

    Raises:
        ConfigError: If a file is not usable.
    """
    watched = Watched([files.ca, files.cert, files.key], lambda: read_pem(files), 0.0)
    current = watched.get()

    # gRPC's stubs forget that None means "as before".
    def fetch() -> Any:
        nonlocal current
        newest = watched.get()
        if newest is current:
            return None
        current = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current), fetch, require_client_authentication=True
    )


def server_contexts(files: TlsFiles, protocols: Sequence[str]) -> Callable[[], ssl.SSLContext]:
    """Return what gives a handshake on a socket its context: `server_credentials` for sockets.

    Raises:
        ConfigError: If a file is not usable.
    """
    paths = [files.ca, files.cert, files.key]
    return Watched(paths, lambda: server_context(files, protocols), 0.0).get


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], pem.ca)
