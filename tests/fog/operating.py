"""An operator of a fog with a rollout, and what tests ask of it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest

from headtail.v1 import control_pb2 as pb
from headtail.v1 import control_pb2_grpc

TIMEOUT_S = 240.0
CHUNK = 64 << 10


class Operator:
    """Calls the operators' service, and the agents' one."""

    def __init__(self, address: str) -> None:
        """Connect to HOST:PORT."""
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.rollouts = control_pb2_grpc.RolloutsStub(self.channel)
        self.control = control_pb2_grpc.ControlStub(self.channel)

    def publish(
        self, path: Path, digest: str = "", *, allow_older: bool = False, size: int | None = None
    ) -> pb.PublishBundleResponse:
        """Send a bundle."""
        data = path.read_bytes()
        header = pb.PublishHeader(
            size_bytes=len(data) if size is None else size, digest=digest, allow_older=allow_older
        )
        messages = [pb.PublishBundleRequest(header=header)]
        messages += [
            pb.PublishBundleRequest(chunk=data[i : i + CHUNK]) for i in range(0, len(data), CHUNK)
        ]
        return self.rollouts.PublishBundle(iter(messages), timeout=TIMEOUT_S)

    def model(self, name: str = "chain") -> pb.Rollout:
        """Return how a model stands, with its agents."""
        request = pb.ListRolloutsRequest(name=name, with_agents=True)
        (rollout,) = self.rollouts.ListRollouts(request, timeout=TIMEOUT_S).rollouts
        return rollout

    def states(self, name: str = "chain") -> dict[str, str]:
        """Return the states by version, in lower case."""
        return {
            b.bundle.version: pb.BundleState.Name(b.bundle.state).split("_")[-1].lower()
            for b in self.model(name).bundles
        }

    def canary(self, version: str, generation: int | None = None, **rules: float) -> pb.Rollout:
        """Start a canary of `chain`."""
        request = pb.StartCanaryRequest(
            bundle=pb.BundleRef(name="chain", version=version),
            generation=generation,
            rules=pb.CanaryRules(**rules),
        )
        return self.rollouts.StartCanary(request, timeout=TIMEOUT_S)

    def promote(self, version: str = "", generation: int | None = None) -> pb.Rollout:
        """Promote a bundle of `chain`."""
        ref = pb.BundleRef(name="chain", version=version)
        request = pb.PromoteRequest(bundle=ref, generation=generation)
        return self.rollouts.Promote(request, timeout=TIMEOUT_S)

    def roll_back(self, generation: int | None = None) -> pb.Rollout:
        """Roll `chain` back."""
        request = pb.RollBackRequest(name="chain", generation=generation, reason="test")
        return self.rollouts.RollBack(request, timeout=TIMEOUT_S)

    def retire(self, version: str) -> pb.Rollout:
        """Retire a bundle of `chain`."""
        ref = pb.BundleRef(name="chain", version=version)
        return self.rollouts.Retire(pb.RetireRequest(bundle=ref), timeout=TIMEOUT_S)

    def report(self, agent: str, digest: str = "", **fields: object) -> pb.Directive:
        """Report as an agent that runs `chain`; return what it is told."""
        status = pb.AgentStatus(agent=agent, name="chain", digest=digest, **fields)
        return self.control.ReportStatus(status, timeout=TIMEOUT_S)


def tally(digest: str, windows: int, latency_s: float = 0.01, **fields: object) -> pb.Tally:
    """Return counts of windows that took `latency_s` each."""
    return pb.Tally(digest=digest, windows=windows, latency_s=windows * latency_s, **fields)


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Return the status and text that a call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def wait_for(condition: Callable[[], bool], what: Callable[[], object] = str) -> None:
    """Wait until something holds."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up_at, what()
        time.sleep(0.02)


def actions(rollout: pb.Rollout) -> Sequence[tuple[str, str]]:
    """Return what was done to which version, the oldest first."""
    return [(e.action, e.version) for e in reversed(rollout.events)]
