"""Which behavior answers which call of the Open Inference Protocol that carries no tensor."""

from collections.abc import Callable
from typing import Any

import grpc

from fog_server.model_servicer import ModelServicer
from fog_server.repository_servicer import RepositoryServicer
from fog_server.rpc import guarded
from headtail.inference import grpc_service_pb2 as oip

Handlers = dict[str, "grpc.RpcMethodHandler[Any, Any]"]


def model_handlers(models: ModelServicer, repository: RepositoryServicer) -> Handlers:
    """Return the handlers by method, each at the border where errors become statuses."""
    methods: dict[str, tuple[Callable[[Any, grpc.ServicerContext], Any], Any]] = {
        "ServerLive": (models.live, oip.ServerLiveRequest),
        "ServerReady": (models.ready, oip.ServerReadyRequest),
        "ModelReady": (models.model_ready, oip.ModelReadyRequest),
        "ServerMetadata": (models.metadata, oip.ServerMetadataRequest),
        "ModelMetadata": (models.model_metadata, oip.ModelMetadataRequest),
        "ModelConfig": (models.model_config, oip.ModelConfigRequest),
        "ModelStatistics": (models.model_statistics, oip.ModelStatisticsRequest),
        "RepositoryIndex": (repository.index, oip.RepositoryIndexRequest),
        "RepositoryModelLoad": (repository.load, oip.RepositoryModelLoadRequest),
        "RepositoryModelUnload": (repository.unload, oip.RepositoryModelUnloadRequest),
    }
    return {
        name: grpc.unary_unary_rpc_method_handler(
            guarded(behavior),
            request_deserializer=request.FromString,
            response_serializer=_serialize,
        )
        for name, (behavior, request) in methods.items()
    }


def _serialize(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content
