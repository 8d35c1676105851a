"""The predicted latency of a window: head, way and fog, or the edge alone."""

import msgspec


class FogTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the fog adds to the latency of a window that is sent to it."""

    queue_s: float
    """Wait in the fog's queue."""
    tail_ratio: float
    """Seconds that the fog takes for a tail, for each that the edge would take; 0: unknown."""
    run_s: float
    """Time that the edge takes for a run before its first MAC."""

    def tail_s(self, head_s: float, whole_s: float) -> float:
        """Return the predicted time of a tail in the fog.

        Args:
            head_s: Predicted time of the head on the edge.
            whole_s: The same of the whole model.
        """
        # Where there is a head, its run is not the tail's: the tail has one of its own.
        own_s = self.run_s if head_s > 0 else 0.0
        return self.tail_ratio * max(0.0, whole_s - head_s + own_s)


def window_latency_s(
    head_s: float | None, tx_s: float, whole_s: float | None, is_whole: bool, fog: FogTime | None
) -> float | None:
    """Return the predicted latency of one window; None where the profile has no speeds.

    Args:
        head_s: Predicted time of the head.
        tx_s: Predicted time of the message.
        whole_s: Predicted time of the whole model on the edge.
        is_whole: Whether the head is the whole model.
        fog: What the fog adds. None leaves it out, and charges the outputs of a model that is
            whole on the edge as a message, as papers do; with it they stay there, as an agent's do.
    """
    if head_s is None or whole_s is None:
        return None
    if fog is None:
        return head_s + tx_s
    if is_whole:
        return head_s
    return head_s + tx_s + fog.queue_s + fog.tail_s(head_s, whole_s)
