"""A fog that is not ours: which version of a tail it means, and whether it is the very tail.

A server without our control service cannot be asked for bundles. It says which versions it has;
where a bundle was exported into its repository, versions are integers, and the model's
configuration holds the digest of the bundle.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from edge_agent.tail import SERVICE, Tail
from headtail.errors import ModelNotFound, RequestInvalid
from headtail.inference import grpc_service_pb2 as oip
from headtail.model_version import DIGEST_PARAMETER, model_version
from headtail.protobuf import field as write_field

_MODEL_VERSION = 2  # field of ModelInferRequest
Response = TypeVar("Response", bound=Message)
Ask = Callable[[str, Any, type[Response]], Response]
"""Makes a unary call: method, request, and the type of the response."""


class Served(NamedTuple):
    """What an agent may ask a fog for, and under which version."""

    version: str
    """The fog's for the bundle's tails."""
    tails: frozenset[str] | None = None
    """The tails that are ready; None: all of the bundle's."""

    def serves(self, tail: str) -> bool:
        """Return whether a tail may be asked for, by its name."""
        return self.tails is None or tail in self.tails


def find_foreign(ask: Ask[Any], fog: str, tail: Tail) -> Served:
    """Return what a fog that is not ours serves of a bundle.

    Args:
        ask: Calls the fog.
        fog: HOST:PORT, for the texts.
        tail: What is wanted of it.

    Raises:
        ModelNotFound: If it serves no such tail, or not in this version.
        RequestInvalid: If its configuration says that the tail is of another bundle.
        grpc.RpcError: If a call fails.
    """
    version = _find_version(ask, tail)
    _check_digest(ask, fog, tail, version)
    return Served(version, _ready_tails(ask, tail, version))


def version_field(version: str) -> bytes:
    """Return the field `model_version` of a request: appended to one, it takes the place of its."""
    return write_field(_MODEL_VERSION, version.encode())


def _find_version(ask: Ask[Any], tail: Tail) -> str:
    """Return the version that stands for the bundle's; a server that names none is asked for it."""
    request = oip.ModelMetadataRequest(name=tail.name)
    model = ask(f"{SERVICE}ModelMetadata", request, oip.ModelMetadataResponse)
    if not model.versions:
        return tail.version
    for version in _names(tail.version):
        if version in model.versions:
            return version
    raise ModelNotFound(tail.name, tail.version, sorted(model.versions))


def _names(version: str) -> tuple[str, ...]:
    try:
        return version, str(model_version(version))
    except ValueError:
        return (version,)


def _check_digest(ask: Ask[Any], fog: str, tail: Tail, version: str) -> None:
    request = oip.ModelConfigRequest(name=tail.name, version=version)
    answer = _ask_if_there(ask, "ModelConfig", request, oip.ModelConfigResponse)
    if answer is None:
        return
    parameter = answer.config.parameters.get(DIGEST_PARAMETER.format(version=version))
    if parameter is not None and parameter.string_value != tail.digest:
        raise RequestInvalid(
            f"fog {fog}",
            f"its '{tail.name}' {version} is of bundle {parameter.string_value[:12]},"
            f" this agent's is {tail.digest[:12]}",
        )


def _ready_tails(ask: Ask[Any], tail: Tail, version: str) -> frozenset[str]:
    """Return the tails of the bundle that are ready in this version, the wanted one among them."""
    request = oip.RepositoryIndexRequest(ready=True)
    answer = _ask_if_there(ask, "RepositoryIndex", request, oip.RepositoryIndexResponse)
    models = answer.models if answer is not None else ()
    prefix = f"{tail.bundle}-tail"
    found = {m.name for m in models if m.version == version and m.name.startswith(prefix)}
    return frozenset({*found, tail.name})


def _ask_if_there(ask: Ask[Any], method: str, request: Any, kind: type[Response]) -> Any:
    """Make a call that not every server knows; None where this one does not, or refuses it."""
    try:
        return ask(f"{SERVICE}{method}", request, kind)
    except grpc.RpcError as error:
        if error.code() in (StatusCode.UNIMPLEMENTED, StatusCode.PERMISSION_DENIED):
            return None
        raise
