"""The Open Inference Protocol's calls about the server and its models."""

from collections.abc import Sequence
from importlib.metadata import version

import grpc

from fog_server.activity import Activity
from fog_server.store import BundleStore
from headtail.errors import ModelNotFound
from headtail.inference import grpc_service_pb2 as oip
from headtail.liveness import Check
from headtail.tensor import OIP_DATATYPES, TensorSpec

PLATFORM = "onnxruntime_onnx"


class ModelServicer:
    """Liveness, readiness and metadata."""

    def __init__(
        self, store: BundleStore, activity: Activity, provider: str, check_live: Check
    ) -> None:
        """Describe what is in `store`, run by `provider`; `check_live` finds what is stuck."""
        self._store = store
        self._activity = activity
        self._provider = provider
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
            extensions=["model_stream_infer", f"execution_provider:{self._provider}"],
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


def _tensors(specs: Sequence[TensorSpec]) -> list[oip.ModelMetadataResponse.TensorMetadata]:
    return [
        oip.ModelMetadataResponse.TensorMetadata(
            name=s.name, datatype=OIP_DATATYPES[s.dtype], shape=s.shape
        )
        for s in specs
    ]
