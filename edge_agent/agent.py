"""The agent's loop: windows through the head, then to the fog or the rest of the chain."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from edge_agent.course import Courses
from edge_agent.guard import Begin, Guard, Keep
from edge_agent.lane import Request
from edge_agent.link import FogLink
from edge_agent.meter import EnergyMeter
from edge_agent.pilot import Pilot
from edge_agent.plan import Plan
from edge_agent.result import FAILED
from edge_agent.sources.frame import Frame, FrameSource
from edge_agent.sources.intake import grouped, stack
from edge_agent.stop import Stop
from edge_agent.tail_codec import seconds
from edge_agent.underway import Finish, Underway
from edge_agent.writer import Writer
from headtail.errors import (
    DeadlineExceeded,
    FogUnavailable,
    Overloaded,
    RemoteError,
    RemoteFailed,
    TensorError,
)
from headtail.log import concerning
from headtail.oip import InferResponse
from headtail.segment import Chain, Tensors

if TYPE_CHECKING:
    from edge_agent.traces import Traces

log = logging.getLogger(__name__)

FALLBACK_REASONS = {
    FogUnavailable: "unavailable",
    DeadlineExceeded: "deadline",
    Overloaded: "overloaded",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How an agent goes about its windows."""

    name: str
    """Of this agent, to the fog."""
    batch: int = 1
    """Windows of one message at most; they are put together only where they have queued."""
    deadline_s: float = 1.0
    """From a window's arrival until the edge finishes it itself."""
    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds."""
    bundle: str = ""
    """Digest that results name, where it is not the one of the sink."""
    ends_refused: bool = True
    """Whether the run ends where every fog refuses the bundle; False: another may come."""
    traces: "Traces | None" = None
    """Makes spans of the windows, where something is traced."""


class Agent:
    """Runs a source to its end; every window is answered exactly once."""

    guard: Guard | None = None
    """Asked about every window, where there is one."""
    pilot: Pilot | None = None
    """Chooses the plan of every window; None: there is only one."""

    def __init__(
        self,
        chain: Chain,
        plan: Plan,
        meter: EnergyMeter,
        writer: Writer,
        stop: Stop,
        settings: Settings,
    ) -> None:
        """Put the pieces together.

        Args:
            chain: The bundle's segments.
            plan: Which of them run here, where no pilot says otherwise.
            meter: Prices what they do.
            writer: Takes the results.
            stop: Set, by whomever, to end the run early.
            settings: The rest.
        """
        self._chain = chain
        self._plan = plan
        self._writer = writer
        self._stop = stop
        self._settings = settings
        self._clock = settings.clock
        self._is_batchable = plan.manifest.is_batchable
        self._courses = Courses(settings.name, meter, settings.bundle)
        self._waited_s = 0.0
        self._refusal: RemoteError | None = None
        self._is_fog_failing = False
        self._underway: dict[str, Underway] = {}

    @property
    def plan(self) -> Plan:
        """What is in use now."""
        return self._plan if self.pilot is None else self.pilot.plan

    @property
    def underway(self) -> int:
        """Messages that wait for the fog."""
        return len(self._underway)

    def other(self, chain: Chain, plan: Plan, meter: EnergyMeter, bundle: str) -> "Agent":
        """Return an agent for windows of another plan or bundle, beside this one."""
        settings = replace(self._settings, bundle=bundle)
        return Agent(chain, plan, meter, self._writer, self._stop, settings)

    def run(self, source: FrameSource, link: FogLink | None, keep: Keep | None = None) -> None:
        """Run until the source ends or the run is asked to stop, and finish what is under way.

        Args:
            source: Where the windows come from.
            link: To the fog; None finishes everything on the edge.
            keep: Told of every window before it is sent; None keeps none.

        Raises:
            HeadtailError: What made the run impossible; windows begun before are still written.
        """
        self.run_with(source, lambda frames: self.begin(frames, link, keep), keep)

    def run_with(self, source: FrameSource, begin: Begin, keep: Keep | None) -> None:
        """Run as `run` does, the windows begun by `begin`."""
        # A pilot's plans have limits of their own: `begin` keeps them.
        limit = self._settings.batch if self.pilot else self._plan.batch(self._settings.batch)
        try:
            for frames in () if self._stop.is_set else source.batches(limit):
                self._reserved(begin, frames)
                if self._stop.is_set:
                    break
        finally:
            if keep is not None:
                keep.flush()
            self._writer.drain()
        self.raise_refusal()

    def begin(self, frames: Sequence[Frame], link: FogLink | None, keep: Keep | None) -> None:
        """Run the head on windows for which there is room, keep them and send them on."""
        if self.pilot is None:
            self._begin(self._plan, frames, link, keep)
            return
        plan = self.pilot.next_plan(self._waited_s)
        for some in grouped(frames, plan.batch(self._settings.batch)):
            self._begin(plan, some, link, keep)

    def _begin(
        self, plan: Plan, frames: Sequence[Frame], link: FogLink | None, keep: Keep | None
    ) -> None:
        """Begin the windows of one message."""
        arrived_s = self._clock()
        try:
            work = self._head(plan, frames)
        except Exception as fault:
            if self.guard is None:
                raise
            self.guard.give_back(Underway(plan, frames, {}, arrived_s, 0.0), fault)
            return
        if keep is not None:
            keep.put(frames, work.activation, plan)
        self._dispatch(work, link)

    def finish(self, work: Underway) -> None:
        """Answer windows here, from their inputs, whatever was done with them before."""
        begun = self._head(self._plan, work.frames)
        self._finish_here(
            structs.replace(begun, arrived_s=work.arrived_s, tx_bytes=work.tx_bytes), None
        )

    def answer(
        self,
        frames: Sequence[Frame],
        activation: Tensors | None,
        link: FogLink | None,
        plan: Plan | None = None,
    ) -> None:
        """Answer windows of a run before this one, that are kept already.

        Args:
            frames: The windows; their tensors only where `activation` is None.
            activation: Of all of them, where the head ran already.
            link: To the fog; None finishes them on the edge.
            plan: Under which they were kept; None: the agent's own.
        """
        under = plan or self._plan

        def begin(frames: Sequence[Frame]) -> None:
            known = None
            if activation is not None:
                known = Underway(under, frames, activation, self._clock(), 0.0)
            self._dispatch(known or self._head(under, frames), link)

        self._reserved(begin, frames)
        self.raise_refusal()

    def _reserved(self, begin: Callable[[Sequence[Frame]], None], frames: Sequence[Frame]) -> None:
        """Begin windows once there is room for them."""
        asked_s = self._clock()
        self._writer.reserve(len(frames))
        self._waited_s = self._clock() - asked_s
        try:
            begin(frames)
        except BaseException:
            self._writer.release(len(frames))
            raise

    def raise_refusal(self) -> None:
        """Raise what the fogs refused for good, if they did.

        Raises:
            RemoteError: ModelNotFound or RequestInvalid.
        """
        if self._refusal is not None:
            raise self._refusal

    def refused(self, error: RemoteError) -> None:
        """End the run: the fog refused what no repetition will mend."""
        if self.guard is not None:
            self.guard.refused(error)
        elif self._settings.ends_refused:
            self._refusal = self._refusal or error
            self._stop.set()

    def answered(self, request: Request, response: InferResponse, received_s: float) -> bool:
        """Take the fog's answer; one that is no answer is a failure of the fog, and of no use."""
        work = self._underway.pop(request.id)
        try:
            outputs = self._courses.of(work.plan).codec.outputs(response, len(work.frames))
        except TensorError as error:
            fault = RemoteFailed("fog", f"answered what is no output: {error}")
            self._finish_here(work, fault)
            return False
        self._is_fog_failing = False
        tail_s = seconds(response, "compute_ns")
        queue_s = seconds(response, "queue_ns")
        network_s = max(0.0, received_s - request.sent_s - tail_s - queue_s)
        finish = Finish("fog", self._clock(), tail_s, network_s, queue_s)
        if self.pilot is not None:
            self.pilot.answered(work, request.sent_s, received_s, finish)
        self._deliver(work, outputs, finish)
        return True

    def failed(self, request: Request, error: RemoteError) -> None:
        """Finish on the edge what the fog did not."""
        self._finish_here(self._underway.pop(request.id), error)

    def _head(self, plan: Plan, frames: Sequence[Frame]) -> Underway:
        """Run the head."""
        arrived_s = self._clock()
        activation = self._chain.head(stack(frames, self._is_batchable), plan.point.index)
        return Underway(plan, frames, activation, arrived_s, self._clock() - arrived_s)

    def _dispatch(self, work: Underway, link: FogLink | None) -> None:
        """Send the activation, or finish here."""
        if link is None or work.plan.is_local:
            if self.pilot is not None:
                work = structs.replace(work, predicted=self.pilot.predict_here(work))
            self._finish_here(work, None)
            return
        if not link.is_up:
            self._finish_here(work, FogUnavailable("", "away"))
            return
        if self._settings.traces is not None:
            work = self._settings.traces.sent(work)
        request = self._request(work)
        work = structs.replace(work, tx_bytes=request.size)
        if self.pilot is not None:
            work = structs.replace(work, predicted=self.pilot.sent(work, request.sent_s))
        self._underway[request.id] = work
        error = link.send(request)
        if error is not None:
            del self._underway[request.id]
            self._finish_here(work, error)

    def _request(self, work: Underway) -> Request:
        now_s = self._clock()
        deadline_s = work.arrived_s + self._settings.deadline_s
        codec = self._courses.of(work.plan).codec
        more = None if work.trace is None else work.trace.parameters
        request = codec.request(work.frames, work.activation, now_s, deadline_s, more)
        # To make it takes time that is not the link's.
        return structs.replace(request, sent_s=self._clock())

    def _finish_here(self, work: Underway, error: RemoteError | None) -> None:
        """Run the rest of the chain; on any thread."""
        if self.guard is not None and self.guard.is_over:
            self.guard.give_back(work, None)
            return
        start_s = self._clock()
        try:
            outputs = self._chain.tail(work.activation, work.plan.point.index)
        except Exception as fault:  # noqa: BLE001 - the border to onnxruntime; the run's thread ends
            if self.guard is None:
                self._writer.fail(fault)
            else:
                self.guard.give_back(work, fault)
            return
        stop_s = self._clock()
        reason = None if error is None else FALLBACK_REASONS.get(type(error), FAILED)
        if reason == FAILED and not self._is_fog_failing:
            self._is_fog_failing = True
            request = self._courses.of(work.plan).codec.request_id(work.frames)
            with concerning(request):
                log.warning("fog failing: %s; finishing on the edge", error)
        finish = Finish("edge", stop_s, stop_s - start_s, fallback=reason)
        if self.pilot is not None:
            self.pilot.finished_here(work, finish)
        self._deliver(work, outputs, finish)

    def _deliver(self, work: Underway, outputs: Tensors, finish: Finish) -> None:
        """Hand the results over, unless the guard takes their windows."""
        if self._settings.traces is not None:
            self._settings.traces.finished(work, finish)
        if self.guard is None or self.guard.allow(work, outputs, finish):
            self._writer.add(self._courses.of(work.plan).results.of(work, outputs, finish))
