"""The floors' other side: the tail behind a bare socket, and behind a gRPC stream of raw bytes.

    python floor_server.py TAIL.onnx INPUT DTYPE SHAPE,...

It prints both ports. Everything a real server does beside reading, running and answering is left
out: no envelope, no checks, no queue, one client at a time for each connection's thread.
"""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort

from client_grpc import grpc
from connections import BARE, LENGTH

MAX_STREAMS = 128
Run = Callable[[bytes | bytearray], bytes]


def load(path: str, name: str, dtype: str, shape: str) -> Run:
    """Return the tail as a function of its input's bytes, one window or several."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    window = [int(size) for size in shape.split(",")]
    outputs = [session.get_outputs()[0].name]

    def run(data: bytes | bytearray) -> bytes:
        x = np.frombuffer(data, dtype).reshape(-1, *window)
        (y,) = session.run(outputs, {name: x})
        return bytes(y.tobytes())

    return run


def serve_socket(listener: socket.socket, run: Run) -> None:
    """Answer every connection on a thread of its own."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_connection, args=(connection, run), daemon=True).start()


def serve_connection(connection: socket.socket, run: Run) -> None:
    """Answer until the client hangs up."""
    data = bytearray()
    while header := connection.recv(LENGTH.size, socket.MSG_WAITALL):
        (size,) = LENGTH.unpack(header)
        if len(data) != size:
            data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            got += connection.recv_into(view[got:])
        answer = run(data)
        connection.sendall(LENGTH.pack(len(answer)) + answer)


def main() -> None:
    """Serve until killed."""
    run = load(*sys.argv[1:])
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return map(run, requests)

    server = grpc.server(
        ThreadPoolExecutor(MAX_STREAMS), options=[("grpc.max_receive_message_length", -1)]
    )
    _, service, method = BARE.split("/")
    handlers = {method: grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"tcp {listener.getsockname()[1]} grpc {port}\n")
    sys.stdout.flush()
    serve_socket(listener, run)


if __name__ == "__main__":
    main()
