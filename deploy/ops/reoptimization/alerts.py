"""What Alertmanager sends to a webhook, version 4 of its format."""

from collections.abc import Iterator

import msgspec

ACTION = "reoptimize"
"""Value of the label `action` of the alerts that ask for a better model."""
MAX_REASON = 200


class Alert(msgspec.Struct, frozen=True):
    """One alert; what else it has is not looked at."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}

    @property
    def reason(self) -> str:
        """Why somebody should act, in a line."""
        name = self.labels.get("alertname", "alert")
        text = f"{name}: {self.annotations.get('summary', '')}".rstrip(": ")
        return "".join(c if c.isprintable() else " " for c in text)[:MAX_REASON]


class Notification(msgspec.Struct, frozen=True):
    """The body of a call."""

    alerts: tuple[Alert, ...]

    def wishes(self) -> Iterator[Alert]:
        """Yield the alerts that fire and ask for a better model."""
        for alert in self.alerts:
            if alert.status == "firing" and alert.labels.get("action") == ACTION:
                yield alert


def decode(body: bytes) -> Notification:
    """Return the notification of a body.

    Raises:
        ValueError: If it is none.
    """
    return msgspec.json.decode(body, type=Notification)
