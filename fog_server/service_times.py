"""How long batches take, learnt from those that ran: what a wait and a delay are reckoned from."""

from collections.abc import Hashable
from dataclasses import dataclass

BRIEF_S = 1e-3
"""A run that is over sooner is not worth another thread: handing a batch over takes as long."""
_MEMORY = 0.9  # weight of the past in the means
_NEWS = 1 - _MEMORY
_OUTLIER = 5  # a run that took longer by this factor was held up, and is not known to be slow yet
_SPREADS = 3  # mean deviations above the mean within which nearly all batches stay
_MAX_MODELS = 512  # remembered; more only means that they are learnt again


@dataclass(slots=True)
class _Times:
    """One model's means."""

    batch_s: float
    """Of the time for which a batch holds its slot."""
    spread_s: float = 0.0
    """Of its distance from that mean."""
    run_s: float | None = None
    """Of the time for which the segments run."""


class ServiceTimes:
    """Running means, in seconds; the holder's lock keeps threads apart."""

    def __init__(self, slots: int) -> None:
        """Know nothing yet; `slots` batches run at once."""
        self._slots = slots
        self._request_s = 0.0
        self._models: dict[Hashable, _Times] = {}

    def learn(
        self, model: Hashable, requests: int, taken_s: float, run_s: float | None = None
    ) -> None:
        """Take in that a batch of so many requests held a slot, and how long its segments ran."""
        each_s = taken_s / requests
        self._request_s = _MEMORY * (self._request_s or each_s) + _NEWS * each_s
        known = self._models.get(model)
        if known is None:
            if len(self._models) >= _MAX_MODELS:
                self._models.clear()
            known = self._models[model] = _Times(taken_s)
        known.spread_s = _MEMORY * known.spread_s + _NEWS * abs(taken_s - known.batch_s)
        known.batch_s = _MEMORY * known.batch_s + _NEWS * taken_s
        if run_s is not None:
            past_s = run_s if known.run_s is None else known.run_s
            known.run_s = _MEMORY * past_s + _NEWS * min(run_s, _OUTLIER * past_s)

    def is_brief(self, model: Hashable) -> bool:
        """Return whether a model's batches are known to run for less than `BRIEF_S`."""
        known = self._models.get(model)
        return known is not None and known.run_s is not None and known.run_s < BRIEF_S

    def batch_s(self, model: Hashable) -> float:
        """Return how long a batch of a model holds its slot, and not often longer."""
        known = self._models.get(model)
        return self._request_s if known is None else known.batch_s + _SPREADS * known.spread_s

    def expected_s(self, model: Hashable, ahead: int) -> float:
        """Return when a request with so many ahead of it would be answered, from now."""
        return self._request_s * ahead / self._slots + self.batch_s(model)

    def wait_s(self, waiting: int) -> float:
        """Return after how long all that waits should have had its turn, and one more."""
        return self._request_s * (waiting + 1) / self._slots
