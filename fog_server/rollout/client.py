"""An operator's calls to a fog."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grpc

from headtail.bundle.archive import MANIFEST
from headtail.bundle.manifest import MAX_MANIFEST_BYTES
from headtail.errors import ConfigError
from headtail.files import replacing
from headtail.tls import ClientTls, secure_channel
from headtail.v1 import control_pb2 as pb
from headtail.v1 import control_pb2_grpc
from headtail.zip_errors import ZIP_ERRORS

CHUNK_BYTES = 256 << 10
AWAY_STATUSES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # by a fog that ended with the call under way: no call here cancels
)
# A fog that was away is found again soon.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 2000))


class Client:
    """A connection to one fog; every call ends within `timeout_s`."""

    def __init__(self, fog: str, tls: ClientTls | None, timeout_s: float) -> None:
        """Connect to HOST:PORT when the first call is made."""
        self._channel = secure_channel(fog, tls, _OPTIONS)
        self._rollouts = control_pb2_grpc.RolloutsStub(self._channel)
        self._control = control_pb2_grpc.ControlStub(self._channel)
        self.timeout_s = timeout_s

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def publish(self, path: Path, reason: str, *, allow_older: bool) -> pb.PublishBundleResponse:
        """Send a bundle; one that the fog has is not sent.

        Raises:
            ConfigError: If the file cannot be read.
            grpc.RpcError: If the fog refuses.
        """
        try:
            size = path.stat().st_size
            header = pb.PublishHeader(
                size_bytes=size, digest=_digest(path), reason=reason, allow_older=allow_older
            )
            with path.open("rb") as file:
                chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
                return self._rollouts.PublishBundle(
                    _messages(header, chunks), timeout=self.timeout_s
                )
        except OSError as error:
            raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error

    def fetch(self, digest: str, path: Path) -> None:
        """Write the file of a bundle that the fog has.

        Raises:
            ConfigError: If the file cannot be written.
            grpc.RpcError: If the fog refuses.
        """
        request = pb.FetchBundleRequest(digest=digest)
        with replacing(path, 0o644) as file:
            for part in self._control.FetchBundle(request, timeout=self.timeout_s):
                file.write(part.chunk)

    def rollouts(self, name: str = "", *, with_agents: bool = False) -> list[pb.Rollout]:
        """Return how models stand."""
        request = pb.ListRolloutsRequest(name=name, with_agents=with_agents)
        return list(self._rollouts.ListRollouts(request, timeout=self.timeout_s).rollouts)

    def rollout(self, name: str) -> pb.Rollout:
        """Return how one model stands."""
        (found,) = self.rollouts(name)
        return found

    def start_canary(self, request: pb.StartCanaryRequest) -> pb.Rollout:
        """Put a bundle on trial."""
        return self._rollouts.StartCanary(request, timeout=self.timeout_s)

    def set_share(self, request: pb.SetCanaryShareRequest) -> pb.Rollout:
        """Give the canary another share."""
        return self._rollouts.SetCanaryShare(request, timeout=self.timeout_s)

    def promote(self, request: pb.PromoteRequest) -> pb.Rollout:
        """Make a bundle active."""
        return self._rollouts.Promote(request, timeout=self.timeout_s)

    def roll_back(self, request: pb.RollBackRequest) -> pb.Rollout:
        """Go back."""
        return self._rollouts.RollBack(request, timeout=self.timeout_s)

    def retire(self, request: pb.RetireRequest) -> pb.Rollout:
        """Retire a candidate or remove a retired bundle."""
        return self._rollouts.Retire(request, timeout=self.timeout_s)


def _messages(
    header: pb.PublishHeader, chunks: Iterator[bytes]
) -> Iterator[pb.PublishBundleRequest]:
    yield pb.PublishBundleRequest(header=header)
    for chunk in chunks:
        yield pb.PublishBundleRequest(chunk=chunk)


def _digest(path: Path) -> str:
    """Return the digest of a bundle, or "" where the fog is to say what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
            manifest = file.read(MAX_MANIFEST_BYTES + 1)
    except (KeyError, *ZIP_ERRORS):
        return ""
    return hashlib.sha256(manifest).hexdigest() if len(manifest) <= MAX_MANIFEST_BYTES else ""


def is_away(error: grpc.RpcError) -> bool:
    """Return whether a call failed because the fog is not there now."""
    return error.code() in AWAY_STATUSES
