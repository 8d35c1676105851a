"""Another bundle, wholly on this device and in a process of its own: what it does stays there.

Run as `python -m edge_agent.update.shadow_process`. It says once that it is ready, or why not; then
each message on its standard input, windows, is answered with one on its standard output, the
model's outputs: four bytes of length, then MessagePack.
"""

import argparse
import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from edge_agent.update.modesty import be_modest
from headtail.errors import HeadtailError
from headtail.tensor import Array

LOAD_S, ANSWER_S = 300, 30
"""Longest time until the bundle is ready, and for the windows of one message. A busy device with
its low priority is slow."""
MEMORY_BYTES = 1 << 30
"""Memory that the process may have for itself."""
MAX_MESSAGE_BYTES = 64 << 20
NICENESS = 10
_LENGTH_BYTES = 4
_SLACK_S = 5.0
_PIECE_BYTES = 1 << 20


class ShadowFailed(HeadtailError):
    """The other bundle gave no answer."""


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """An array."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class _Answer(msgspec.Struct, array_like=True, frozen=True):
    """What the process says."""

    fault: str
    outputs: dict[str, _Packed]


class ShadowProcess:
    """The process, as the agent sees it; one thread at a time asks it."""

    def __init__(
        self,
        path: Path,
        settings: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start it, and wait until it is ready.

        Args:
            path: The bundle.
            settings: Folder of trusted keys, key file and threads, as in the configuration.
            clock: Monotonic seconds.

        Raises:
            OSError: If it cannot be started.
        """
        module = [sys.executable, "-m", "edge_agent.update.shadow_process"]
        self._clock = clock
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*module, str(NICENESS), str(path), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def wait_ready(self) -> None:
        """Wait until the bundle is loaded.

        Raises:
            ShadowFailed: If it cannot be.
        """
        self._answer(LOAD_S)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's outputs for windows.

        Raises:
            ShadowFailed: If there are none.
        """
        assert self._process.stdin is not None, "a pipe"
        try:
            _write(self._process.stdin, msgspec.msgpack.encode(_pack(inputs)))
        except OSError as error:
            raise ShadowFailed(self._ended()) from error
        return _unpack(self._answer(ANSWER_S).outputs)

    def kill(self) -> None:
        """End it at once; on any thread. Whoever waits for an answer gets none."""
        self._process.kill()

    def close(self) -> None:
        """End it, and let go of the pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent is not wanted either
                    pipe.close()

    def _answer(self, limit_s: float) -> _Answer:
        stop_s = self._clock() + limit_s + _SLACK_S
        size = int.from_bytes(self._read(_LENGTH_BYTES, stop_s), "big")
        if size > MAX_MESSAGE_BYTES:
            raise ShadowFailed(f"{size} bytes of outputs; {MAX_MESSAGE_BYTES} are read")
        try:
            answer = msgspec.msgpack.decode(self._read(size, stop_s), type=_Answer)
        except msgspec.DecodeError as error:
            raise ShadowFailed(f"its process said what cannot be read: {error}") from error
        if answer.fault:
            raise ShadowFailed(answer.fault)
        return answer

    def _read(self, size: int, stop_s: float) -> bytes:
        assert self._process.stdout is not None, "a pipe"
        handle = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            left_s = stop_s - self._clock()
            if left_s <= 0 or not poll.poll(1e3 * left_s):
                raise ShadowFailed("its process says nothing")
            piece = os.read(handle, min(size - len(data), _PIECE_BYTES))
            if not piece:
                raise ShadowFailed(self._ended())
            data += piece
        return bytes(data)

    def _ended(self) -> str:
        """Return how the process ended, which it has, or is about to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_SLACK_S)
            how = f"signal {-status}" if status < 0 else f"status {status}"
            return f"its process ended with {how}"
        return "its process hung up"


def main() -> int:
    """Be that other process."""
    parser = argparse.ArgumentParser(prog="shadow")
    parser.add_argument("niceness", type=int)
    for name in ("path", "trust", "key"):
        parser.add_argument(name)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_CORE: 0}
    be_modest(given.niceness, limits)
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the agent, which ends this one
        signal.signal(number, signal.SIG_IGN)
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    windows = os.fdopen(os.dup(0), "rb")
    try:
        _serve(given, windows, answers)
    except Exception as error:  # noqa: BLE001 - onnxruntime's own kinds, and whatever it makes of it
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        _write(answers, msgspec.msgpack.encode(_Answer(text, {})))
        return 1
    return 0


def _serve(given: argparse.Namespace, windows: IO[bytes], answers: IO[bytes]) -> None:
    """Load the bundle, and answer until the agent hangs up."""
    signal.alarm(LOAD_S)
    from edge_agent.trust import open_trust
    from headtail.bundle import read_bundle
    from headtail.segment import Chain, SessionOptions

    bundle = read_bundle(Path(given.path), open_trust(given.trust, given.key))
    chain = Chain(bundle, SessionOptions(threads=given.threads))
    chain.self_test(bundle)
    chain.merge(bundle, [(0, len(bundle.segments))])
    del bundle
    _write(answers, msgspec.msgpack.encode(_Answer("", {})))
    signal.alarm(0)
    while length := windows.read(_LENGTH_BYTES):
        signal.alarm(ANSWER_S)  # ends this process where the model hangs
        content = windows.read(int.from_bytes(length, "big"))
        inputs = _unpack(msgspec.msgpack.decode(content, type=dict[str, _Packed]))
        outputs = chain.tail(inputs, 0)
        _write(answers, msgspec.msgpack.encode(_Answer("", _pack(outputs))))
        signal.alarm(0)


def _pack(arrays: Mapping[str, Array]) -> dict[str, _Packed]:
    return {n: _Packed(a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}


def _unpack(packed: Mapping[str, _Packed]) -> dict[str, Array]:
    """Return arrays; raises ShadowFailed where they are none."""
    try:
        return {
            name: np.frombuffer(one.data, np.dtype(one.dtype)).reshape(one.shape)
            for name, one in packed.items()
        }
    except (TypeError, ValueError) as error:
        raise ShadowFailed(f"its process said what is no array: {error}") from error


def _write(pipe: IO[bytes], content: bytes) -> None:
    """Write a message whole; an unbuffered pipe may take a part of it."""
    left = memoryview(len(content).to_bytes(_LENGTH_BYTES, "big") + content)
    while left:
        left = left[pipe.write(left) :]


if __name__ == "__main__":
    sys.exit(main())
