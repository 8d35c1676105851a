"""The fog as a request sees it: how the model stands, and what is done about it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grpc

from fog_server.rollout.client import Client, is_away
from fog_server.rollout.commands import EXIT_CODES
from headtail.v1 import control_pb2 as pb
from reoptimization.outcome import Code, Stopped
from reoptimization.patience import Away, Patience
from reoptimization.request import Request

CALL_S = 180.0
"""Longest call; a fog tests what is published for up to 120 s."""
T = TypeVar("T")


class NotNow(Stopped):
    """The fog refuses a change as things stand: look again."""


class Fog:
    """Calls to one fog, made again while it is away."""

    def __init__(self, request: Request, patience: Patience) -> None:
        """Connect when the first call is made.

        Raises:
            ConfigError: If a file of TLS is not usable.
        """
        ends = request.ends
        self._client = Client(ends.fog, ends.fog_tls, CALL_S)
        self._name = request.model
        self._where = f"fog {ends.fog}"
        self._patience = patience

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def model(self) -> pb.Rollout:
        """Return how the model stands.

        Raises:
            Stopped: If the fog has none of that name.
        """
        return self._call(lambda: self._client.rollout(self._name))

    def look(self) -> pb.Rollout | None:
        """Return how the model stands, or None where the fog is away just now."""
        try:
            return self._once(lambda: self._client.rollout(self._name))
        except Away:
            return None

    def fetch(self, digest: str, path: Path) -> None:
        """Write the file of a bundle.

        Raises:
            Stopped: If the fog has it no more, or does not give it.
        """
        self._call(lambda: self._client.fetch(digest, path))

    def publish(self, path: Path, reason: str) -> pb.PublishBundleResponse:
        """Send a bundle.

        Raises:
            NotNow: If its version is taken, or older than the active one.
            Stopped: If it is refused or there is no room.
        """
        return self._call(lambda: self._client.publish(path, reason, allow_older=False))

    def start_canary(
        self, digest: str, generation: int, rules: Mapping[str, Any], reason: str
    ) -> pb.Rollout | None:
        """Put a bundle on trial; None where the fog went away and may have done it.

        Raises:
            NotNow: If another change came first, or it cannot be as things stand.
        """
        request = pb.StartCanaryRequest(
            bundle=pb.BundleRef(name=self._name, digest=digest),
            generation=generation,
            rules=pb.CanaryRules(**rules),
            reason=reason,
        )
        try:
            return self._once(lambda: self._client.start_canary(request))
        except Away:
            return None

    def _call(self, work: Callable[[], T]) -> T:
        return self._patience.call(lambda: self._once(work))

    def _once(self, work: Callable[[], T]) -> T:
        self._client.timeout_s = min(CALL_S, max(1.0, self._patience.left_s))
        try:
            return work()
        except grpc.RpcError as error:
            said = f"{self._where}: {' '.join((error.details() or '').split())}"
            if is_away(error):
                raise Away(said) from None
            code = Code(EXIT_CODES.get(error.code(), Code.FAILED))
            kind = NotNow if code in (Code.REFUSED, Code.SUPERSEDED) else Stopped
            raise kind(code, said) from None
