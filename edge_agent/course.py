"""What an agent has made ready for each plan of its bundle."""

from dataclasses import dataclass

from edge_agent.meter import EnergyMeter
from edge_agent.plan import Plan, PlanKey
from edge_agent.tail_codec import TailCodec
from edge_agent.underway import Results


@dataclass(frozen=True, slots=True)
class Course:
    """Messages and results of one plan."""

    codec: TailCodec
    results: Results


class Courses:
    """The courses of one bundle, each made when it is first asked for; on any thread."""

    def __init__(self, agent: str, meter: EnergyMeter, bundle: str) -> None:
        """Begin with none.

        Args:
            agent: Names the sender in messages.
            meter: Prices what is done.
            bundle: Digest that results name; empty for that of the sink.
        """
        self._agent = agent
        self._meter = meter
        self._bundle = bundle
        self._made: dict[PlanKey, Course] = {}
        self._last: tuple[Plan | None, Course | None] = None, None

    def of(self, plan: Plan) -> Course:
        """Return the course of a plan."""
        last, known = self._last
        if known is not None and last is plan:
            return known
        key = plan.key
        course = self._made.get(key)
        if course is None:
            results = Results(plan, self._meter, self._bundle)
            # Two threads may make it at once: both are the same, and one stays.
            course = self._made.setdefault(key, Course(TailCodec(plan, self._agent), results))
        self._last = plan, course
        return course
