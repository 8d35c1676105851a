"""Load a fog server with many streams; run as a program, it prints one JSON object.

Each stream sends at its own pace whatever comes back, as a sensor does, so that the load is as
large as asked for and not as large as the server makes it. Latency counts from when a window was
due, not from when gRPC took it.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import numpy as np

from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_stream_response
from headtail.tensor import TensorSpec

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
SHAPES = {"slow": (8,), "chain": (16, 2)}
STREAMS_PER_CHANNEL = 16
# What grpc.aio itself says, as status INTERNAL and in place of the server's, when a stream that the
# server has ended well is written to, or closed, before its end is read.
_SENT_TOO_LATE = "Internal error from Core"
PATIENCE_S = 30.0  # for the answers still to come when everything is sent


@dataclass
class Tally:
    """What became of the windows of one agent, or of all."""

    due_s: dict[str, float] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    """By the server's clock, from the arrival of a window to its run."""
    served_s: list[float] = field(default_factory=list)
    """By the same, to the end of that."""
    outcomes: Counter[str] = field(default_factory=Counter)
    delays_ms: list[int] = field(default_factory=list)

    def take(self, data: bytes) -> float:
        """Count one answer; return the delay it asks for, in seconds, or 0."""
        answer = read_stream_response(data)
        taken_s = time.monotonic() - self.due_s.pop(answer.id)
        if answer.error:
            self.outcomes[str(answer.parameters["status"])] += 1
            delay_ms = answer.parameters.get("retry_delay_ms", 0)
            self.delays_ms += [delay_ms] * bool(delay_ms)
            return delay_ms / 1e3
        self.outcomes["OK"] += 1
        self.latencies_s.append(taken_s)
        queue_s, compute_s = (int(answer.parameters[n]) / 1e9 for n in ("queue_ns", "compute_ns"))
        self.waits_s.append(queue_s)
        self.served_s.append(queue_s + compute_s)
        return 0.0

    def report(self) -> dict[str, object]:
        """Return the figures; percentiles are of the answers that brought outputs."""
        p50, p99, worst = (
            np.percentile(self.latencies_s, [50, 99, 100]) if self.latencies_s else [0.0] * 3
        )
        return {
            "outcomes": self.outcomes,
            "p50_s": round(p50, 4),
            "p99_s": round(p99, 4),
            "max_s": round(worst, 4),
            "longest_wait_s": max(self.waits_s, default=0.0),
            "served_p99_s": float(np.percentile(self.served_s, 99)) if self.served_s else 0.0,
            "least_delay_ms": min(self.delays_ms, default=0),
        }


class Agent:
    """One stream that sends at its pace."""

    def __init__(self, number: int, options: argparse.Namespace) -> None:
        """Prepare the windows of agent `number`."""
        self.name = f"{options.name}-{number % options.agents}"
        self._options = options
        self._number = number
        self.tally = Tally()
        self._paused_until_s = 0.0
        shape = (options.batch, *SHAPES[options.model])
        specs = [TensorSpec("x", "float32", shape)]
        self._writer = InferWriter(options.model, "", specs, RAW_INPUT_FIELD)
        self._arrays = [np.random.default_rng(number).standard_normal(shape).astype(np.float32)]

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Send and receive until the time is over; a refused stream ends it."""
        call = channel.stream_stream(STREAM)(self._windows())
        try:
            async with asyncio.timeout(self._options.seconds + PATIENCE_S):
                async for data in call:
                    delay_s = self.tally.take(data)
                    if self._options.polite and delay_s:
                        self._paused_until_s = time.monotonic() + delay_s
        except TimeoutError:
            call.cancel()
            self.tally.outcomes["UNANSWERED"] += len(self.tally.due_s)
        except grpc.aio.AioRpcError as error:
            if _SENT_TOO_LATE not in str(error.details()):
                self.tally.outcomes[f"STREAM {error.code().name} {error.details()}"] += 1
                return
            self.tally.outcomes["UNANSWERED"] += len(self.tally.due_s)
        else:
            self.tally.outcomes["UNANSWERED"] += len(self.tally.due_s)

    async def _windows(self) -> AsyncIterator[bytes]:
        interval_s = 1 / self._options.rate
        began_s = time.monotonic() + interval_s * (self._number % 97) / 97
        for index in range(int(self._options.seconds / interval_s)):
            due_s = began_s + index * interval_s
            await asyncio.sleep(due_s - time.monotonic())
            if due_s < self._paused_until_s:
                self.tally.outcomes["NOT SENT"] += 1
                continue
            parameters = {
                "agent": self.name,
                "deadline_ms": self._options.deadline_ms,
                "sent_ms": int(due_s * 1e3),
            }
            window = f"{self._number}/{index}"
            self.tally.due_s[window] = due_s
            yield self._writer.write(window, parameters, self._arrays)


async def load(options: argparse.Namespace) -> dict[str, object]:
    """Run every agent and return the figures of all together and of each name."""
    agents = [Agent(number, options) for number in range(options.streams)]
    channels = [
        grpc.aio.insecure_channel(
            options.address,
            [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)],
        )
        for _ in range(0, options.streams, STREAMS_PER_CHANNEL)
    ]
    await asyncio.gather(
        *(agent.run(channels[i // STREAMS_PER_CHANNEL]) for i, agent in enumerate(agents))
    )
    for channel in channels:
        await channel.close()
    total = Tally()
    ok_by_agent: Counter[str] = Counter()
    for agent in agents:
        total.outcomes += agent.tally.outcomes
        total.latencies_s += agent.tally.latencies_s
        total.waits_s += agent.tally.waits_s
        total.served_s += agent.tally.served_s
        total.delays_ms += agent.tally.delays_ms
        ok_by_agent[agent.name] += agent.tally.outcomes["OK"]
    return total.report() | {"ok_by_agent": ok_by_agent}


def main() -> None:
    """Read the options, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--model", default="slow")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--name", default="agent", help="what the agents are called")
    parser.add_argument("--agents", type=int, default=1 << 30, help="names among the streams")
    parser.add_argument("--rate", type=float, required=True, help="messages a second and stream")
    parser.add_argument("--batch", type=int, default=1, help="windows a message")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--deadline-ms", type=int, required=True)
    parser.add_argument("--polite", action="store_true", help="honour the delays asked for")
    json.dump(asyncio.run(load(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
