"""The calls about the model repository: its index, and loading and unloading bundles."""

from collections.abc import Mapping

import grpc

from fog_server.repository import Repository, State
from headtail.errors import BundleError, ConfigError, RequestInvalid, WrongState
from headtail.inference import grpc_service_pb2 as oip

# Triton's: tails always go with their bundle.
UNLOAD_DEPENDENTS = "unload_dependents"


class RepositoryServicer:
    """RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload."""

    def __init__(self, repository: Repository) -> None:
        """Show and change what `repository` serves."""
        self._repository = repository

    def index(
        self, request: oip.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryIndexResponse:
        """List models, served or not.

        Raises:
            RequestInvalid: If another repository is asked for than the one there is.
        """
        _check_repository(request.repository_name)
        models = [
            oip.RepositoryIndexResponse.ModelIndex(
                name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
            )
            for entry in self._repository.index()
            if entry.state is State.READY or not request.ready
        ]
        return oip.RepositoryIndexResponse(models=models)

    def load(
        self, request: oip.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelLoadResponse:
        """Serve what the repository holds under a bundle's name.

        Raises:
            RequestInvalid: If the request brings a configuration or files of its own.
            WrongState: If what lies there is not fit to be served; what is served stays.
        """
        _check_repository(request.repository_name)
        _check_parameters(request.parameters)
        try:
            self._repository.load(request.model_name)
        except (BundleError, ConfigError) as error:
            raise WrongState(f"model '{request.model_name}'", str(error)) from error
        return oip.RepositoryModelLoadResponse()

    def unload(
        self, request: oip.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelUnloadResponse:
        """Serve nothing under a bundle's name any more.

        Raises:
            RequestInvalid: If the request has parameters that mean nothing here.
        """
        _check_repository(request.repository_name)
        _check_parameters(request.parameters, UNLOAD_DEPENDENTS)
        self._repository.unload(request.model_name)
        return oip.RepositoryModelUnloadResponse()


def _check_repository(name: str) -> None:
    if name:
        raise RequestInvalid(
            "repository_name", f"expected none, since there is one, received '{name[:64]}'"
        )


def _check_parameters(given: Mapping[str, oip.ModelRepositoryParameter], *known: str) -> None:
    for name in given:
        if name not in known:
            raise RequestInvalid(
                f"parameter '{name[:64]}'", "expected none: a bundle is served as it was signed"
            )
