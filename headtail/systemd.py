"""Telling systemd how a program fares: one datagram for each change of state and each heartbeat.

Source: sd_notify(3) and sd_watchdog_enabled(3).
"""

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 1.0
"""A manager that is busy for so long is not waited for; the next message may get through."""


class Notifier:
    """The service manager's end of NOTIFY_SOCKET; without an address nobody is told anything."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """Remember where to send; nothing is sent yet.

        Args:
            address: A path, or `@NAME` in Linux's abstract namespace; empty where nobody listens.
            watchdog_s: The manager ends the program after so long without `beat`; None: never.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._is_failing = False

    def ready(self, status: str) -> None:
        """Say that start-up is over; `status` is what `systemctl status` shows."""
        self._send("READY=1", _status(status))

    def beat(self, status: str) -> None:
        """Say that the program still makes progress."""
        self._send("WATCHDOG=1", _status(status))

    def status(self, status: str) -> None:
        """Say how things stand, and nothing else."""
        self._send(_status(status))

    def stopping(self) -> None:
        """Say that the program is about to end."""
        self._send("STOPPING=1", _status("stopping"))

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._is_failing:
                log.warning("NOTIFY_SOCKET: cannot be told: %s", error.strerror or error)
            self._is_failing = True
        else:
            self._is_failing = False


def notifier(environment: Mapping[str, str], pid: int) -> Notifier:
    """Return the notifier that systemd's variables ask for.

    Args:
        environment: NOTIFY_SOCKET, WATCHDOG_USEC in microseconds and WATCHDOG_PID, if any.
        pid: This process; a watchdog that is meant for another is none of ours.
    """
    usec, meant_for = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and meant_for in ("", str(pid))
    return Notifier(environment.get("NOTIFY_SOCKET", ""), int(usec) / 1e6 if is_watched else None)


def _status(text: str) -> str:
    """Return the assignment; a line break would begin another."""
    return "STATUS=" + " ".join(text.split())
