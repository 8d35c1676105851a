"""The floor's other side: a bare gRPC server whose stream answers each message with fixed bytes.

Run as a program, it prints its port. A stream's first message states the answer's size as text.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

PATH = "/bench.Echo/Stream"


def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Answer every message after the first with as many zeros as the first one says."""
    reply = bytes(int(next(requests)))
    for _ in requests:
        yield reply


def main() -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Stream": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
