"""The messages of a call as they come, and a line in the log for a call that brought none."""

import logging
from collections.abc import Iterator
from typing import TypeVar

import grpc

from headtail.oip import Content
from headtail.server.origin import origin_of
from headtail.server.peer import peer_host

log = logging.getLogger(__name__)
Frame = TypeVar("Frame", bytes, Content)


def received(
    frames: Iterator[Frame], context: grpc.ServicerContext, max_bytes: int
) -> Iterator[Frame]:
    """Yield the messages of a call.

    gRPC refuses a message of more than `max_bytes` from its length, with RESOURCE_EXHAUSTED, and
    tells the program only that the call is over, as one that was cancelled or one that has ended.
    Agents break their streams off at any time; one that never brought anything is worth a line.

    Raises:
        grpc.RpcError: If the call breaks off.
    """
    try:
        first = next(frames)
    except (StopIteration, grpc.RpcError) as error:
        peer = peer_host(origin_of(context.peer()))
        reason = f"ended, cancelled, connection lost or over {max_bytes} bytes"
        log.warning("no message in a call from %s: %s", peer, reason)
        if isinstance(error, grpc.RpcError):
            raise
        return
    yield first
    yield from frames
