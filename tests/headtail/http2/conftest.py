"""Services of ours, and ways to call them; whatever a test opened is closed, however it ended."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
from http2_peers import PATH, Method, Service, opened


@pytest.fixture(autouse=True)
def _close_what_was_opened() -> Iterator[None]:
    """Close calls and peers."""
    yield
    while opened:
        opened.pop().close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service with one method."""
    with ExitStack() as resources:

        def start(behavior: Method, **options) -> Service:
            service = Service(behavior, **options)
            resources.callback(service.close)
            return service

        yield start


@pytest.fixture
def multi(serve) -> Iterator[Callable[..., grpc.StreamStreamMultiCallable]]:
    """Return a function that starts a service and returns gRPC's way to call it."""
    with ExitStack() as resources:

        def connect(behavior: Method, path: str = PATH, **options):
            host, port = serve(behavior, **options).address
            channel_options = [
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ]
            channel = grpc.insecure_channel(f"{host}:{port}", options=channel_options)
            resources.enter_context(channel)
            return channel.stream_stream(path)

        yield connect
