"""The way to the fog as one queue of bits: how long messages wait, and what their times tell.

Messages leave one after the other. One that was sent at s and whose answer was made at y, both on
our clock, the round trip included in y, began to move at s or, later, when the one before it was
through: at its own y less the round trip. From there on it took a + b x seconds, whether it had to
wait or not; that is what the estimate is given.
"""

from edge_agent.partition.link_estimate import LinkEstimate
from edge_agent.partition.probing import PROBE_BYTES

QUEUED_DOUBT = 0.15
"""Added standard deviation of a sample that waited: its start is itself an estimate."""
LATE_RATIO = 2.0
"""What took too long would have taken so many times longer than it was waited for."""
PROBE_DOUBT_S, PROBE_DOUBT_RATIO = 1e-3, 0.1
"""An empty call takes another way through gRPC and the fog than windows do, and has by such a share
of its bytes more or less."""
FIRST_PROBE_BYTES = 200
"""Of the first empty call on a connection, whose headers are sent in full."""


class Uplink:
    """Keeps account of what is on its way."""

    def __init__(self) -> None:
        """Begin with a free link of which nothing is known."""
        self.estimate = LinkEstimate()
        self._free_s = 0.0
        self._through_s = 0.0
        self._waiting_bits = 0.0
        self._call_bytes = FIRST_PROBE_BYTES
        self.messages = 0
        """Under way."""

    def sent(self, bits: float, now_s: float) -> float:
        """Take note of a message; return how many seconds it waits for those before it."""
        start_s = max(now_s, self._free_s)
        self._free_s = start_s + bits * self.estimate.seconds_per_bit
        self._waiting_bits += bits
        self.messages += 1
        return start_s - now_s

    def answered(self, bits: float, sent_s: float, arrived_s: float, now_s: float) -> bool:
        """Take note of an answer; return whether it made a jump believed.

        Args:
            bits: Of the message.
            sent_s: When it was handed over.
            arrived_s: When its answer came, less the fog's own time: queue, inflating and tail.
            now_s: Now.
        """
        estimate = self.estimate
        start_s = max(sent_s, self._through_s)
        has_queued = start_s > sent_s
        expected_s = estimate.predict(bits)
        took_s = arrived_s - start_s
        has_jumped = False
        # A later message overtook it: it says nothing of its own way.
        if took_s > 0.1 * expected_s or not has_queued:
            doubt = QUEUED_DOUBT if has_queued else 0.0
            has_jumped = estimate.observe(bits, max(took_s, 1e-6), now_s, doubt)
        self._through_s = max(self._through_s, arrived_s - estimate.round_trip_s)
        self._leave(bits)
        return has_jumped

    def failed(self, bits: float, waited_s: float, now_s: float) -> bool:
        """Take note of a message without an answer; return whether that made a jump believed.

        Args:
            bits: Of the message.
            waited_s: How long it was waited for, where that says something of the link; else 0.
            now_s: Now.
        """
        self._leave(bits)
        likely_s = LATE_RATIO * waited_s
        if likely_s <= self.estimate.predict(bits):
            return False
        self.estimate.exceeded(bits, likely_s, now_s)
        return True

    def probing(self, padding_bytes: int, now_s: float) -> None:
        """Take note of an empty call that is made."""
        bits = 8.0 * (self._call_bytes + padding_bytes)
        self._free_s = max(now_s, self._free_s) + bits * self.estimate.seconds_per_bit

    def probed(self, padding_bytes: int, took_s: float, now_s: float) -> bool:
        """Take note of the answer to an empty call; return whether it made a jump believed."""
        bits = 8.0 * (self._call_bytes + padding_bytes)
        doubt_bits = 8.0 * PROBE_DOUBT_RATIO * self._call_bytes
        self._call_bytes = PROBE_BYTES
        doubt_s = PROBE_DOUBT_S + doubt_bits * self.estimate.seconds_per_bit
        doubt = doubt_s / max(took_s, self.estimate.predict(bits))
        has_jumped = self.estimate.observe(bits, took_s, now_s, doubt)
        # What was sent behind it had to wait.
        self._through_s = max(self._through_s, now_s - self.estimate.round_trip_s)
        return has_jumped

    def reset(self) -> None:
        """Begin anew with a free link that may be another one."""
        self._free_s = self._through_s = self._waiting_bits = 0.0
        self._call_bytes = FIRST_PROBE_BYTES
        self.messages = 0
        self.estimate.doubt()

    def _leave(self, bits: float) -> None:
        self.messages = max(0, self.messages - 1)
        self._waiting_bits = max(0.0, self._waiting_bits - bits) if self.messages else 0.0
        self._free_s = self._through_s + self._waiting_bits * self.estimate.seconds_per_bit
