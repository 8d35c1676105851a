"""How long batches take, learnt from those that ran: what a wait and a delay are reckoned from."""

from collections.abc import Hashable

_MEMORY = 0.9  # weight of the past in the means
_SPREADS = 3  # mean deviations above the mean within which nearly all batches stay
_MAX_MODELS = 512  # remembered; more only means that they are learnt again


class ServiceTimes:
    """Running means, in seconds; the holder's lock keeps threads apart."""

    def __init__(self, slots: int) -> None:
        """Know nothing yet; `slots` batches run at once."""
        self._slots = slots
        self._request_s = 0.0
        self._batches_s: dict[Hashable, tuple[float, float]] = {}
        self._runs_s: dict[Hashable, float] = {}

    def learn(self, model: Hashable, requests: int, taken_s: float) -> None:
        """Take in that a batch of so many requests held a slot for so long."""
        each_s = taken_s / requests
        self._request_s = _mean(self._request_s or each_s, each_s)
        if len(self._batches_s) >= _MAX_MODELS and model not in self._batches_s:
            self._batches_s.clear()
            self._runs_s.clear()
        mean_s, spread_s = self._batches_s.get(model, (taken_s, 0.0))
        spread_s = _mean(spread_s, abs(taken_s - mean_s))
        self._batches_s[model] = _mean(mean_s, taken_s), spread_s

    def learn_run(self, model: Hashable, taken_s: float) -> None:
        """Take in how long of that the segments ran."""
        self._runs_s[model] = _mean(self._runs_s.get(model, taken_s), taken_s)

    def run_s(self, model: Hashable) -> float | None:
        """Return how long the segments of a model run for one batch; None if none has."""
        return self._runs_s.get(model)

    def batch_s(self, model: Hashable) -> float:
        """Return how long a batch of a model holds its slot, and not often longer."""
        mean_s, spread_s = self._batches_s.get(model, (self._request_s, 0.0))
        return mean_s + _SPREADS * spread_s

    def expected_s(self, model: Hashable, ahead: int) -> float:
        """Return when a request with so many ahead of it would be answered, from now."""
        return self._request_s * ahead / self._slots + self.batch_s(model)

    def wait_s(self, waiting: int) -> float:
        """Return after how long all that waits should have had its turn, and one more."""
        return self._request_s * (waiting + 1) / self._slots


def _mean(past: float, now: float) -> float:
    return _MEMORY * past + (1 - _MEMORY) * now
