"""Logging of the programs: one line per state change, on standard error, for people or machines."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Literal

import msgspec

Format = Literal["text", "json"]
MAX_REQUEST_ID = 128

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that this thread works on; every line logged meanwhile carries it."""


@contextmanager
def concerning(request: str) -> Iterator[None]:
    """Let every line that this thread logs meanwhile carry a request's id."""
    token = request_id.set(request)
    try:
        yield
    finally:
        request_id.reset(token)


# A client's text must not begin a line of its own, nor drive a terminal.
_CONTROLS = {i: f"\\x{i:02x}" for i in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def configure(level: str = "info", form: Format = "text", process: str = "") -> None:
    """Send the log to standard error.

    Args:
        level: debug, info, warning or error.
        form: Lines for people or machines.
        process: Named in every line, where several processes share a log.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter(process))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    if form == "json":
        # Python would write both as text.
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger("headtail").critical("ended by %s", kind.__name__, exc_info=error)


def report(error: Exception, form: Format) -> None:
    """Say on standard error, in one line, why the program ends."""
    if form == "text":
        sys.stderr.write(f"error: {error}\n")
        return
    record = logging.LogRecord("headtail", logging.ERROR, "", 0, str(error), (), None)
    sys.stderr.write(JsonFormatter().format(record) + "\n")


class TextFormatter(logging.Formatter):
    """Time, severity, module, text, process and request's id; a traceback follows, indented."""

    def __init__(self, process: str = "") -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: "
        line += record.getMessage().translate(_CONTROLS)
        if self._process:
            line += f" [{self._process}]"
        if request := _request_id(record):
            line += f" [request {request.translate(_CONTROLS)}]"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n  | {text.translate(_CONTROLS)}" for text in trace.splitlines())
        return line


class JsonFormatter(logging.Formatter):
    """An object a line: time (UTC), level, logger, message; process, request_id and traceback."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process:
            fields["process"] = self._process
        if request := _request_id(record):
            fields["request_id"] = request
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(_encodable(fields)).decode()


def _request_id(record: logging.LogRecord) -> str:
    """Return the id that the line was given, or else that of the thread."""
    given: str = getattr(record, "request_id", "") or request_id.get()
    return given[:MAX_REQUEST_ID]


def _encodable(fields: dict[str, str]) -> dict[str, str]:
    """Return the fields without lone surrogates, which file names may hold and JSON may not."""
    return {k: v.encode("utf-8", "backslashreplace").decode() for k, v in fields.items()}
