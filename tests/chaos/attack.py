"""One process that sends malformed messages to a fog, and says how it was answered."""

import queue
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np

from hostile import draw, heavy

SERVICE = "/inference.GRPCInferenceService/"
POOL = 3000
"""Messages drawn anew each round."""
IN_FLIGHT, STREAM_LENGTH = 32, 1500
LARGE_EVERY = 8
"""Rounds, of which one also sends what is large."""
UNARY_EVERY, RAW_EVERY = 20, 500
"""Of so many stream messages, one unary call; one connection of raw bytes."""
CALL_TIMEOUT_S, STREAM_TIMEOUT_S = 60.0, 300.0
"""Past these the fog counts as hung; a stream carries STREAM_LENGTH messages."""
BOMB_BYTES, OVERSIZE_BYTES = 128 << 20, 65 << 20
"""Unpacked, and as it travels; a fog takes 64 MiB by default."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = (
    "ModelInfer", "ModelMetadata", "ModelReady", "ServerMetadata", "NoSuchMethod",
)  # fmt: skip
CONTROL = "/headtail.v1.Control/"


@dataclass(frozen=True, slots=True)
class Order:
    """What one process is to do."""

    address: str
    count: int
    seed: int
    stop_s: float
    """On the system's monotonic clock."""


def attack(order: Order, results: "queue.Queue[Counter[str]]") -> None:
    """Send until the count or the time is over; put what came back into `results`."""
    rng = np.random.default_rng(order.seed)
    counts: Counter[str] = Counter()
    rounds = 0
    with grpc.insecure_channel(order.address, [("grpc.max_send_message_length", -1)]) as channel:
        while counts["sent"] < order.count and time.monotonic() < order.stop_s:
            messages = draw(rng, POOL)[: order.count - counts["sent"]]
            stream_all(channel, messages, counts)
            call_some(channel, messages[::UNARY_EVERY], rng, counts)
            rounds += 1
            if rounds % LARGE_EVERY == 1:
                overwhelm(channel, rng, counts)
            for _ in messages[::RAW_EVERY]:
                connect_raw(order.address, rng, counts)
    results.put(counts)


def stream_all(channel: grpc.Channel, messages: list[bytes], counts: "Counter[str]") -> None:
    """Send messages on streams, a bounded number ahead of the answers; each must be answered."""
    call = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
    for start in range(0, len(messages), STREAM_LENGTH):
        batch = messages[start : start + STREAM_LENGTH]
        room: queue.Queue[None] = queue.Queue(IN_FLIGHT)

        def requests(
            batch: list[bytes] = batch, room: "queue.Queue[None]" = room
        ) -> Iterator[bytes]:
            for message in batch:
                room.put(None, timeout=CALL_TIMEOUT_S)
                yield message

        answered = 0
        try:
            for answer in call(requests(), timeout=STREAM_TIMEOUT_S):
                room.get()
                answered += 1
                # Field 1 of a ModelStreamInferResponse is the error's text.
                counts["refused" if answer[:1] == b"\x0a" else "answered"] += 1
        except grpc.RpcError as error:
            counts[f"stream ended: {error.code().name} {error.details()}"] += 1
        counts["unanswered"] += len(batch) - answered
        counts["sent"] += len(batch)


def call_some(
    channel: grpc.Channel, messages: list[bytes], rng: np.random.Generator, counts: "Counter[str]"
) -> None:
    """Send messages to unary methods, most of which expect something else."""
    paths = [f"{SERVICE}{m}" for m in METHODS] + [f"{CONTROL}ListBundles", f"{CONTROL}Nothing"]
    for message in messages:
        path = paths[rng.integers(len(paths))]
        try:
            channel.unary_unary(path)(message, timeout=CALL_TIMEOUT_S)
            counts["unary OK"] += 1
        except grpc.RpcError as error:
            counts[f"unary {error.code().name}"] += 1
        counts["sent"] += 1


def overwhelm(channel: grpc.Channel, rng: np.random.Generator, counts: "Counter[str]") -> None:
    """Send what is large: fields that multiply, zeros packed a thousandfold, too many bytes."""
    infer = channel.unary_unary(f"{SERVICE}ModelInfer")
    for data, packing in (
        (heavy(rng), grpc.Compression.NoCompression),
        (bytes(BOMB_BYTES), grpc.Compression.Gzip),
        (bytes(OVERSIZE_BYTES), grpc.Compression.NoCompression),
    ):
        try:
            infer(data, timeout=CALL_TIMEOUT_S, compression=packing)
            counts["large OK"] += 1
        except grpc.RpcError as error:
            counts[f"large {error.code().name}"] += 1
        counts["sent"] += 1


def connect_raw(address: str, rng: np.random.Generator, counts: "Counter[str]") -> None:
    """Open a connection of our own, send bytes that are no gRPC, and hang up."""
    host, port = address.rsplit(":", 1)
    kind = int(rng.integers(4))
    frame = struct.pack(">I", int(rng.integers(2**32)))[1:] + rng.bytes(6) + rng.bytes(64)
    data = [rng.bytes(200), PREFACE + frame, PREFACE[:9], PREFACE + rng.bytes(400)][kind]
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(data)
            if rng.integers(2):
                connection.settimeout(0.2)
                connection.recv(4096)
    except OSError:
        counts["raw hung up on"] += 1
    counts["raw connections"] += 1
    counts["sent"] += 1


if __name__ == "__main__":
    sys.exit("run malformed.py")
