"""The Open Inference Protocol's calls about the server and its models."""

from collections.abc import Sequence
from importlib.metadata import version

import grpc

from fog_server.activity import Activity
from fog_server.config import Inference
from fog_server.model_config import PLATFORM, tail_config
from fog_server.statistics import Statistics
from fog_server.statistics_message import statistics_message
from fog_server.store import BundleStore
from headtail.errors import ModelNotFound
from headtail.inference import grpc_service_pb2 as oip
from headtail.liveness import Check
from headtail.tensor import OIP_DATATYPES, TensorSpec

EXTENSIONS = (
    "model_stream_infer",
    "model_configuration",
    "statistics",
    "model_repository",
    "schedule_policy",
    "parameters",
)
"""What is answered beyond the protocol itself; all but the first are Triton's names."""


class ModelServicer:
    """Liveness, readiness, metadata, configuration and statistics."""

    def __init__(
        self,
        store: BundleStore,
        activity: Activity,
        statistics: Statistics,
        provider: str,
        settings: Inference,
        check_live: Check,
    ) -> None:
        """Describe what is served.

        Args:
            store: What is served.
            activity: Knows whether the server drains.
            statistics: What the models have done.
            provider: The execution provider that runs them.
            settings: How requests are run.
            check_live: Finds what is stuck.
        """
        self._store = store
        self._activity = activity
        self._statistics = statistics
        self._provider = provider
        self._settings = settings
        self._check_live = check_live

    def live(
        self, request: oip.ServerLiveRequest, context: grpc.ServicerContext
    ) -> oip.ServerLiveResponse:
        """Say whether requests that run also end."""
        return oip.ServerLiveResponse(live=self._check_live() is None)

    def ready(
        self, request: oip.ServerReadyRequest, context: grpc.ServicerContext
    ) -> oip.ServerReadyResponse:
        """Say whether requests are taken."""
        return oip.ServerReadyResponse(ready=not self._activity.is_draining)

    def model_ready(
        self, request: oip.ModelReadyRequest, context: grpc.ServicerContext
    ) -> oip.ModelReadyResponse:
        """Say whether one model takes requests; one that is not served does not."""
        try:
            self._store.tail(request.name, request.version)
        except ModelNotFound:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=not self._activity.is_draining)

    def metadata(
        self, request: oip.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> oip.ServerMetadataResponse:
        """Name the server and what it runs on."""
        return oip.ServerMetadataResponse(
            name="headtail-fog",
            version=version("headtail"),
            extensions=[*EXTENSIONS, f"execution_provider:{self._provider}"],
        )

    def model_metadata(
        self, request: oip.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> oip.ModelMetadataResponse:
        """Describe one model's tensors, as they travel."""
        tail = self._store.tail(request.name, request.version)
        return oip.ModelMetadataResponse(
            name=tail.name,
            versions=self._store.versions(tail.name),
            platform=PLATFORM,
            inputs=_tensors(tail.inputs),
            outputs=_tensors(tail.outputs),
        )

    def model_config(
        self, request: oip.ModelConfigRequest, context: grpc.ServicerContext
    ) -> oip.ModelConfigResponse:
        """Say how one model is fed, run and batched."""
        tail = self._store.tail(request.name, request.version)
        config = tail_config(tail, self._settings, self._provider)
        return oip.ModelConfigResponse(config=config)

    def model_statistics(
        self, request: oip.ModelStatisticsRequest, context: grpc.ServicerContext
    ) -> oip.ModelStatisticsResponse:
        """Say what models have done since they were loaded; no name means all of them."""
        served = [tail for _, tails in self._store.loaded for tail in tails]
        wanted = [
            tail
            for tail in served
            if request.name in ("", tail.name) and request.version in ("", tail.version)
        ]
        if not wanted and request.name:
            names = sorted({tail.name for tail in served})
            raise ModelNotFound(request.name, request.version, names)
        found = [statistics_message(tail, self._statistics.of(tail)) for tail in wanted]
        return oip.ModelStatisticsResponse(model_stats=found)


def _tensors(specs: Sequence[TensorSpec]) -> list[oip.ModelMetadataResponse.TensorMetadata]:
    return [
        oip.ModelMetadataResponse.TensorMetadata(
            name=s.name, datatype=OIP_DATATYPES[s.dtype], shape=s.shape
        )
        for s in specs
    ]
