"""What one agent may ask for: windows a second, and windows a day."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fog_server.config import Quota
from fog_server.refusal import Cause, refusal

Clock = Callable[[], float]
DAY_S = 86400.0
_RETURN_RATIO = 0.25  # share of the burst that a refused agent comes back to
MAX_AGENTS = 4096  # accounts kept; without certificates anybody can make names up


@dataclass(slots=True)
class _Account:
    """One agent's: windows it may send at once, and those it has sent this day."""

    windows: float
    filled_s: float
    day_began_s: float
    today: int = 0


class Quotas:
    """Keeps an account for each agent; several threads may use it at once."""

    def __init__(self, quota: Quota, clock: Clock = time.monotonic) -> None:
        """Allow every agent the same; `clock` is in seconds."""
        self._rate = quota.windows_per_s
        self._burst = float(quota.burst or max(1.0, self._rate))
        self._per_day = quota.windows_per_day
        self._clock = clock
        self._lock = threading.Lock()
        # The one used longest ago is the first.
        self._accounts: dict[str, _Account] = {}
        self.is_limited = bool(self._rate or self._per_day)
        """Whether there is anything to keep account of."""

    @property
    def accounts(self) -> int:
        """Agents whose account is kept now."""
        return len(self._accounts)

    def spend(self, agent: str, windows: int) -> None:
        """Take windows from an agent's account.

        A message of more windows than may come at once passes when the account is full, and leaves
        it in debt.

        Raises:
            Overloaded: If the account does not cover them; nothing is taken then.
        """
        if not self.is_limited:
            return
        with self._lock:
            account = self._account(agent)
            self._check_day(account, windows)
            self._check_rate(account, windows)
            account.windows -= windows
            account.today += windows

    def give_back(self, agent: str, windows: int) -> None:
        """Undo `spend` for windows that were not run."""
        if not self.is_limited:
            return
        with self._lock:
            if account := self._accounts.get(agent):
                account.windows = min(self._burst, account.windows + windows)
                account.today = max(0, account.today - windows)

    def _account(self, agent: str) -> _Account:
        """Return an agent's account as it stands now."""
        now_s = self._clock()
        account = self._accounts.pop(agent, None)
        if account is None:
            account = _Account(self._burst, now_s, now_s)
            if len(self._accounts) >= MAX_AGENTS:
                del self._accounts[next(iter(self._accounts))]
        self._accounts[agent] = account
        earned = (now_s - account.filled_s) * self._rate
        account.windows = min(self._burst, account.windows + earned)
        account.filled_s = now_s
        if now_s - account.day_began_s >= DAY_S:
            account.day_began_s, account.today = now_s, 0
        return account

    def _check_day(self, account: _Account, windows: int) -> None:
        if self._per_day and account.today + windows > self._per_day:
            left_s = DAY_S - (self._clock() - account.day_began_s)
            reason = f"{account.today} of {self._per_day} windows a day used"
            raise refusal(Cause.QUOTA, reason, max(1.0, left_s))

    def _check_rate(self, account: _Account, windows: int) -> None:
        if self._rate and account.windows < min(windows, self._burst):
            # Back after a single window has been earned, it would be refused again at once.
            wanted = min(max(windows, _RETURN_RATIO * self._burst), self._burst)
            reason = f"more than {self._rate:g} windows a second"
            raise refusal(Cause.RATE, reason, (wanted - account.windows) / self._rate)
