"""Prometheus' HTTP API, as far as it is asked here: instant queries, bounded in time and size."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import msgspec

from headtail.errors import DataError

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 8 << 20
LARGEST = 1e18
"""Of a value; none of what agents count or time comes near it."""
MAX_TEXT = 200
"""Characters of an answer's own words that an error repeats."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series' value at the time asked about."""

    labels: Mapping[str, str]
    value: float
    """Neither NaN nor beyond LARGEST."""


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct, frozen=True):
    result: tuple[_Series, ...]


class _Answer(msgspec.Struct, frozen=True):
    """What /api/v1/query answers; fields that are not needed are left out."""

    status: str
    data: _Data | None = None
    error: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Stays where it was sent: who may name a server has not named those it points to."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class Prometheus:
    """Asks one Prometheus about one moment."""

    def __init__(self, url: str, at_s: float, timeout_s: float = TIMEOUT_S) -> None:
        """Remember whom to ask about when; nothing is sent yet.

        Args:
            url: http://HOST:PORT, as `optimizer.recipe.field.check_url` allows it.
            at_s: The moment, in seconds since 1970.
            timeout_s: Longest wait for an answer's next bytes.
        """
        self.url = url.rstrip("/")
        self.at_s = at_s
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def query(self, expression: str) -> tuple[Sample, ...]:
        """Return an expression's instant vector, without values that measure nothing.

        Raises:
            DataError: If nobody answers, or the answer is an error or no such vector.
        """
        content = self._ask(expression)
        try:
            answer = msgspec.json.decode(content, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._error(f"answered what is no vector of samples: {error}") from error
        if answer.status != "success" or answer.data is None:
            raise self._error(f"refused {expression}: {_one_line(answer.error or answer.status)}")
        try:
            samples = [Sample(s.metric, float(s.value[1])) for s in answer.data.result]
        except ValueError as error:
            raise self._error(f"answered what is no number: {error}") from error
        return tuple(s for s in samples if abs(s.value) <= LARGEST)

    def _ask(self, expression: str) -> bytes:
        form = urllib.parse.urlencode({"query": expression, "time": f"{self.at_s:.3f}"})
        request = urllib.request.Request(  # noqa: S310 - check_url allows http and https alone
            f"{self.url}/api/v1/query", data=form.encode(), headers={"Accept": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return self._bounded(answer)
        except urllib.error.HTTPError as error:
            with error:
                told = self._told(error)
            raise self._error(f"answered {error.code} {error.reason}{told}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                raise self._error(f"no answer within {self._timeout_s:g} s") from error
            text = getattr(reason, "strerror", None) or _one_line(str(reason))
            raise self._error(f"cannot be reached: {text or type(reason).__name__}") from error

    def _bounded(self, answer: IO[bytes]) -> bytes:
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            raise self._error(f"answered more than {MAX_ANSWER_BYTES} bytes; narrow the matchers")
        return content

    def _told(self, error: urllib.error.HTTPError) -> str:
        """Return what Prometheus says of its own error, with what sets it off."""
        try:
            text = msgspec.json.decode(error.read(MAX_ANSWER_BYTES), type=_Answer).error
        except (
            OSError, http.client.HTTPException, msgspec.DecodeError, UnicodeDecodeError,
            RecursionError,
        ):  # fmt: skip
            return ""
        return text and f": {_one_line(text)}"

    def _error(self, reason: str) -> DataError:
        return DataError(f"Prometheus {self.url}", reason)


def selector(labels: Mapping[str, str]) -> str:
    """Return the matchers of a selector, its braces included: `{model="ecg"}`."""
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items()))
    return f"{{{inner}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]
