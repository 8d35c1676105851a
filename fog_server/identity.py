"""Who sent a request: the name that rates, quotas and turns are kept by."""

import grpc

from headtail.errors import RequestInvalid
from headtail.oip import InferRequest
from headtail.server.authorization import certified
from headtail.server.origin import origin_of
from headtail.server.peer import peer_host

AGENT = "agent"  # the parameter in which an agent names itself
MAX_NAME = 128  # characters


def identity_of(context: grpc.ServicerContext, request: InferRequest) -> str:
    """Return the name of whoever sent `request`.

    It is the certificate's identity where the server asks for one. Without certificates an agent is
    whoever it says it is: what the request calls its sender, else the host the call came from.

    Raises:
        NotAllowed: If the request claims another name than the certificate's.
        RequestInvalid: If the name is no text of 1 to 128 characters.
    """
    name = request.parameters.get(AGENT)
    caller = certified.get()
    if caller is not None:
        return caller.name_as(None if name is None else str(name))
    if name is None:
        return peer_host(origin_of(context.peer()))
    if type(name) is not str or not 0 < len(name) <= MAX_NAME:
        raise RequestInvalid(f"parameter '{AGENT}'", f"expected a name of 1 to {MAX_NAME} letters")
    return name


def caller_name(context: grpc.ServicerContext, claimed: str = "") -> str:
    """Return the same for a call that carries no request of inference.

    Raises:
        NotAllowed: If it claims another name than the certificate's.
        RequestInvalid: If the name is too long.
    """
    caller = certified.get()
    if caller is not None:
        return caller.name_as(claimed or None)
    if len(claimed) > MAX_NAME:
        raise RequestInvalid("agent", f"expected a name of at most {MAX_NAME} letters")
    return claimed or peer_host(origin_of(context.peer()))
