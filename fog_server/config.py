"""The fog server's configuration: one TOML, whose keys the flags mirror."""

import os
from typing import Annotated, Literal

import msgspec

from fog_server.batcher_policy import DynamicBatching
from fog_server.rollout.rules import Rules
from headtail.server.config import Connections, NotNegative, Positive, Seconds, ServerConfig
from headtail.tracing import Tracing

ProviderChoice = Literal["auto", "cpu", "cuda", "tensorrt"]


class Inference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `inference`: how tails run and how much may wait."""

    providers: ProviderChoice = "auto"
    """Execution provider; auto takes the first of TensorRT, CUDA, CPU that really loads."""
    threads: Positive = 1
    """Threads of one onnxruntime operator; small tails run fastest on one."""
    max_running: NotNegative = 0
    """Batches that run at once; 0 means one per CPU core."""
    max_queued: NotNegative = 1024
    """Requests that may wait for their turn; more are refused with RESOURCE_EXHAUSTED."""
    max_queued_bytes: Positive = 256 << 20
    """What the tensors of those may take together."""
    max_batch: Positive = 256
    """Windows that one request may hold."""
    dynamic_batching: DynamicBatching = DynamicBatching()
    models: dict[str, DynamicBatching] = msgspec.field(default_factory=dict)
    """The same table for single models, by their name or their bundle's; what it leaves out stands
    at the default, not at what `dynamic_batching` says."""

    @property
    def running(self) -> int:
        """Batches that run at once, with 0 resolved."""
        return self.max_running or len(os.sched_getaffinity(0))

    def batching(self, model: str, bundle: str) -> DynamicBatching:
        """Return how the requests for a model of a bundle are batched."""
        return self.models.get(model) or self.models.get(bundle) or self.dynamic_batching

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that are run once before the first request."""
        return tuple(
            sorted(self.dynamic_batching.sizes.union(*(m.sizes for m in self.models.values())))
        )

    @property
    def levels(self) -> int:
        """Priority levels there are, at least 1."""
        return max(1, *(m.priority_levels for m in (self.dynamic_batching, *self.models.values())))


class Wire(Connections, frozen=True):
    """Section `wire`: the gRPC server."""

    max_agents: Positive = 64
    """Streams open at once; each holds a thread."""
    max_message_bytes: Positive = 64 << 20
    """Largest message received or sent."""
    drain_s: Seconds = 10.0
    """Longest time from SIGTERM to exit, for windows in flight to be answered."""
    settle_s: Seconds = 0.25
    """Silence after which a draining server ends a stream."""


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `quota`: what one agent may ask for; 0 means no limit."""

    windows_per_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Windows a second, in the long run; more are refused with RESOURCE_EXHAUSTED and a delay."""
    burst: NotNegative = 0
    """Windows that may come at once after a pause; 0 means as many as in one second."""
    windows_per_day: NotNegative = 0
    """Windows in 24 hours, counted from the agent's first; a restart of the server forgets them."""
    streams: NotNegative = 0
    """Streams open at once."""


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `rollout`: publishing bundles to a running server, and who runs which."""

    enabled: bool = False
    """Whether bundles have states, kept beside them; without, the newest of a name is active."""
    max_bundle_bytes: Positive = 1 << 30
    """Largest bundle that may be published."""
    max_store_bytes: Positive = 8 << 30
    """What published bundles may take on the disk together."""
    poll_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """How often the states are looked at: another server may have changed them."""
    report_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How often agents are asked to report."""
    lost_s: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    """Silence after which an agent no longer counts."""
    grace_s: Seconds = 86400.0
    """How long a retired bundle is served after it was retired, and after an agent last ran it."""
    rules: Rules = Rules()


class Capture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `capture`: a sample of the models' inputs, kept on the disk; see docs/capture.md."""

    enabled: bool = False
    """Whether inputs are captured; without, old ones are still removed in time."""
    models: tuple[str, ...] = ()
    """Names of the bundles whose inputs are captured; none named means all."""
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    """Share of the windows that requests at partition point 0 bring which may enter the sample."""
    max_windows: Positive = 10_000
    """Windows of one model that are kept; a random choice of all that might be."""
    max_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 256 << 20
    """What the windows of one model may take on the disk."""
    retention_s: Annotated[float, msgspec.Meta(gt=0)] = 30 * 86400.0
    """Age at which a window is removed."""
    keep_agent_names: bool = False
    """Whether windows name their agents; without, they carry a hash that only this folder's secret
    links to a name."""
    folder: str = ""
    """Where they are kept; empty means `capture` below `bundles`."""


class Config(ServerConfig, frozen=True):
    """Everything the fog server can be told, with what every server can."""

    workers: Positive = 1
    """Processes that serve on the one port; see docs/workers.md for what is each one's own."""
    bundles: str = ""
    """Folder whose every *.bundle is served."""
    listen: str = "127.0.0.1:8500"
    """HOST:PORT of the gRPC server; port 0 takes a free one."""
    health: str = ""
    """HOST:PORT of a port in plaintext for health checks alone, as Kubernetes' gRPC probes make
    them; empty means none. They are answered on `listen` in any case."""
    trust: str = ""
    """Folder of trusted public keys (*.pub); empty means this user's own."""
    allow_older: bool = False
    """Whether the newest version of a bundle may be older than one that was served before."""
    inference: Inference = Inference()
    wire: Wire = Wire()
    quota: Quota = Quota()
    rollout: Rollout = Rollout()
    capture: Capture = Capture()
    tracing: Tracing = Tracing()
