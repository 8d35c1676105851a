"""Fetching a bundle from the fog's control service, for `--model`."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import grpc

from edge_agent.fog_client import channel_options
from edge_agent.fog_errors import call_error
from edge_agent.ran import check_ran, record_ran
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.installed import check_installed, read_installed, record_installed
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import MAX_BUNDLE_BYTES, VERSION_PATTERN, is_name, version_key
from headtail.errors import (
    BundleError,
    BundleUnreadable,
    ConfigError,
    FogUnavailable,
    ModelNotFound,
    RemoteFailed,
)
from headtail.tls import ClientTls, secure_channel
from headtail.v1.control_pb2 import (
    BUNDLE_STATE_ACTIVE,
    BundleInfo,
    FetchBundleRequest,
    FetchBundleResponse,
    ListBundlesRequest,
)
from headtail.v1.control_pb2_grpc import ControlStub

log = logging.getLogger(__name__)

CALL_S, FETCH_S = 5.0, 600.0
"""Longest call, and longest fetch."""


def fetch_bundle(
    fogs: Sequence[str],
    wanted: tuple[str, str],
    folder: Path,
    trust: Trust,
    tls: ClientTls | None = None,
) -> Bundle:
    """Return the bundle that a fog serves under a name, read from `folder` if it is there.

    Fogs that are away do not keep an agent from starting again: the newest bundle of that name
    fetched before serves, or the one that was gone back to.

    Args:
        fogs: HOST:PORT of each; the first that is there is asked.
        wanted: Name, and version or "" for the active one, or the newest where the fog keeps no
            rollout.
        folder: Where bundles are kept.
        trust: Whose signature is accepted.
        tls: The agent's certificate and whom it trusts; None is plaintext.

    Raises:
        ConfigError: If the name cannot be a bundle's, or the folder cannot be written.
        BundleOutdated: If the fog's is older than one fetched before, and not on purpose, or than
            all that ran here.
        ModelNotFound: If the fog serves no such bundle.
        FogUnavailable: If all fogs are away and no bundle of that name was fetched before.
        BundleError: If what came is not fit to run.
    """
    name, version = wanted
    if not is_name(name):
        raise ConfigError("--model", f"'{name[:80]}' cannot be a bundle's name")
    away: FogUnavailable | None = None
    for fog in fogs:
        try:
            with closing(secure_channel(fog, tls, channel_options())) as channel:
                info = _find(ControlStub(channel), fog, name, version)
                path = folder / f"{info.name}-{info.version}.bundle"
                may_be_older = bool(version) or _is_gone_back_to(info, tls)
                if not may_be_older:
                    check_installed(folder, f"from fog {fog}", name, info.version)
                elif not version:
                    check_ran(folder, f"from fog {fog}", name, info.version)
                bundle = _read_kept(path, info, trust)
                bundle = bundle or _fetch(ControlStub(channel), fog, info, path, trust)
                record_installed(folder, [bundle.manifest], is_forced=may_be_older)
                record_ran(folder, name, info.version)
                return bundle
        except FogUnavailable as error:
            away = error
    assert away is not None
    path = _newest_kept(folder, name, version, away)
    log.warning("%s; running %s, fetched before", away, path.name)
    return read_bundle(path, trust)


def _find(control: ControlStub, fog: str, name: str, version: str) -> BundleInfo:
    try:
        listed = control.ListBundles(ListBundlesRequest(), timeout=CALL_S).bundles
    except grpc.RpcError as error:
        raise call_error(error, fog, (name, version)) from error
    found = [b for b in listed if b.name == name and version in ("", b.version)]
    if not found:
        raise ModelNotFound(name, version, [f"{b.name} {b.version}" for b in listed])
    active = [b for b in found if b.state == BUNDLE_STATE_ACTIVE and not version]
    info = (active or found)[-1]  # sorted by version
    if not re.match(VERSION_PATTERN, info.version):  # it becomes part of a file's name
        raise RemoteFailed(f"fog {fog}", f"version {info.version[:40]!r} cannot be a bundle's")
    return info


def _is_gone_back_to(info: BundleInfo, tls: ClientTls | None) -> bool:
    """Return whether a fog that has proved who it is says that somebody rolled back to this."""
    return info.is_rollback and tls is not None


def _read_kept(path: Path, info: BundleInfo, trust: Trust) -> Bundle | None:
    """Return the bundle at `path` if it is the one announced."""
    if not path.exists():
        return None
    try:
        bundle = read_bundle(path, trust)
    except BundleError as error:
        log.warning("fetching again: %s", error)
        return None
    return bundle if bundle.digest == info.digest else None


def _fetch(control: ControlStub, fog: str, info: BundleInfo, path: Path, trust: Trust) -> Bundle:
    """Fetch into a temporary file, check it, and only then put it in place."""
    handle, name = _temporary(path)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in _chunks(control, fog, info):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        bundle = read_bundle(temporary, trust)
        if bundle.digest != info.digest:
            raise BundleUnreadable(
                f"{info.name} {info.version}",
                f"the fog announced {info.digest[:12]} and sent {bundle.digest[:12]}",
            )
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    log.info("fetched %s %s (%s) from %s", info.name, info.version, bundle.digest[:12], fog)
    return bundle


def _temporary(path: Path) -> tuple[int, str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError("--state", f"'{path.parent}': {error.strerror}") from error


def _chunks(control: ControlStub, fog: str, info: BundleInfo) -> Iterator[bytes]:
    """Yield the file's chunks, never more than the fog announced or a bundle may have."""
    limit = min(info.size_bytes, MAX_BUNDLE_BYTES)
    received = 0
    request = FetchBundleRequest(name=info.name, version=info.version)
    try:
        response: FetchBundleResponse
        for response in control.FetchBundle(request, timeout=FETCH_S):
            received += len(response.chunk)
            if received > limit:
                raise RemoteFailed(f"fog {fog}", f"sent more than the {limit} bytes it announced")
            yield response.chunk
    except grpc.RpcError as error:
        raise call_error(error, fog, (info.name, info.version)) from error
    if received < info.size_bytes:
        raise RemoteFailed(f"fog {fog}", f"sent {received} of {info.size_bytes} bytes")


def _newest_kept(folder: Path, name: str, version: str, error: FogUnavailable) -> Path:
    """Return the newest bundle that is no newer than the record says, else the newest."""
    kept = {}
    for path in folder.glob(f"{name}-*.bundle"):
        number = path.name.removeprefix(f"{name}-").removesuffix(".bundle")
        # A name may begin with another: `ecg-wide-1` is no version of `ecg`.
        if number.replace(".", "").isdigit() and version in ("", number):
            kept[version_key(number)] = path
    if not kept:
        raise error
    installed = read_installed(folder).get(name)
    known = [key for key in kept if installed is not None and key <= version_key(installed)]
    return kept[max(known or kept)]
