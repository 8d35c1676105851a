"""The spans of windows: from arrival to result, with the head, the network and the tail here."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import structs

from edge_agent.underway import Finish, Underway
from headtail.tracing import Attribute, Span, Tracer, to_parameters

MEASURE_S = 60.0
"""How old the difference of the two clocks may be: Unix time may be set anew."""
_LOOKS = 8


@dataclass(frozen=True, slots=True)
class WindowTrace:
    """The spans of one message that is on its way."""

    window: Span
    network: Span
    parameters: Mapping[str, str]
    """Of the request: by them the fog's spans become children of `network`."""


class Traces:
    """Makes the spans of an agent's windows; on any thread."""

    def __init__(
        self,
        tracer: Tracer,
        agent: str,
        clock: Callable[[], float] = time.monotonic,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make spans with `tracer`; `clock` is the agent's own, in seconds."""
        self._tracer = tracer
        self._agent = agent
        self._clock = clock
        self._unix_ns = unix_ns
        self._offset_ns, self._measured_s = 0, float("-inf")

    def sent(self, work: Underway) -> Underway:
        """Return windows that are about to be sent, with their spans."""
        window = self._begin(work)
        network = self._tracer.begin("edge.network", self._at(), window.context, "client")
        trace = WindowTrace(window, network, to_parameters(network.context))
        return structs.replace(work, trace=trace)

    def finished(self, work: Underway, finish: Finish) -> None:
        """End the spans of windows that were answered, here or by the fog."""
        stop_ns = self._at(finish.stop_s)
        tail_ns = self._at(finish.stop_s - finish.tail_s)
        is_here = finish.where == "edge"
        window = self._begin(work) if work.trace is None else work.trace.window
        if work.trace is not None:
            ended_ns = tail_ns if is_here else stop_ns
            work.trace.network.end(ended_ns, error=finish.fallback or "")
        if is_here:
            self._tracer.begin("edge.tail", tail_ns, window.context).end(stop_ns)
        window.end(stop_ns, self._describe(work, finish) if window.is_recording else None)

    def close(self) -> None:
        """Send what has ended, and end."""
        self._tracer.close()

    def _begin(self, work: Underway) -> Span:
        """Begin the span of windows whose head has run, and make that of the head."""
        arrived_ns = self._at(work.arrived_s)
        window = self._tracer.begin("edge.window", arrived_ns)
        head = self._tracer.begin("edge.head", arrived_ns, window.context)
        head.end(self._at(work.arrived_s + work.head_s))
        return window

    def _at(self, moment_s: float | None = None) -> int:
        """Return a moment of the agent's clock, or now, in Unix nanoseconds."""
        now_s = self._clock()
        if now_s - self._measured_s >= MEASURE_S:
            self._measured_s, self._offset_ns = now_s, self._measure()
        return self._offset_ns + round(1e9 * (now_s if moment_s is None else moment_s))

    def _measure(self) -> int:
        """Return what Unix time is ahead of the clock; the quickest of some looks is the best."""
        looks = []
        for _ in range(_LOOKS):
            before_s = self._clock()
            unix_ns = self._unix_ns()
            after_s = self._clock()
            looks.append((after_s - before_s, unix_ns - round(5e8 * (before_s + after_s))))
        return min(looks)[1]

    def _describe(self, work: Underway, finish: Finish) -> dict[str, Attribute]:
        plan = work.plan
        described: dict[str, Attribute] = {
            "headtail.model": plan.manifest.name,
            "headtail.version": plan.manifest.version,
            "headtail.partition_point": plan.point.index,
            "headtail.encoding": plan.encoding.value,
            "headtail.request_id": f"{self._agent}/{work.frames[0].sequence}",
            "headtail.windows": len(work.frames),
            "headtail.where": finish.where,
            "headtail.tx_bytes": work.tx_bytes,
        }
        if finish.fallback:
            described["headtail.fallback"] = finish.fallback
        return described
