"""Section [field] of the recipe: what a run learns from the agents that are at work."""

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from optimizer.recipe_section import Positive, Section

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_RANGE_S = 31 * 86400
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
OWN_LABELS = frozenset(
    {"__name__", "encoding", "kind", "le", "model", "part", "partition_point", "reason", "where"}
)


class FieldConfig(Section, frozen=True):
    """Section [field]: correct the profiles with what agents measured, and use their inputs."""

    prometheus: str = ""
    """http://HOST:PORT of a Prometheus that scrapes the agents; empty corrects nothing."""
    range: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$")] = "1h"
    """How far back from now what it recorded counts: a number with s, m, h or d."""
    model: str = ""
    """Name of the bundle that the agents run; empty means the recipe's own name."""
    matchers: dict[str, str] = msgspec.field(default_factory=dict)
    """Labels that the agents' metrics must have besides, by name, such as instance or job."""
    min_windows: Positive = 100
    """Windows without which nothing is learned."""
    captured: str = ""
    """Folder of inputs that a fog captured; empty uses none."""
    labels: str = ""
    """Folder of labels for them; empty means that there are none."""

    def __post_init__(self) -> None:
        if self.range_s > MAX_RANGE_S:
            raise ValueError(f"range must be at most 31d, received '{self.range}'")
        if self.prometheus:
            check_url(self.prometheus)
        check_matchers(self.matchers)
        if self.labels and not self.captured:
            raise ValueError("labels are for captured inputs: captured is missing")

    @property
    def range_s(self) -> int:
        """The range in seconds."""
        return int(self.range[:-1]) * UNITS_S[self.range[-1]]


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is http://HOST:PORT, with https and a path where need be."""
    wrong = f"prometheus must be http://HOST:PORT, received '{url[:80]}'"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(wrong) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise ValueError(wrong)
    if parts.username is not None or parts.query or parts.fragment or " " in url:
        raise ValueError(f"{wrong}; neither user nor query belongs there")


def check_matchers(matchers: dict[str, str]) -> None:
    """Raise ValueError where a matcher's label is none, or is one that queries set themselves."""
    for name in matchers:
        if not LABEL.fullmatch(name) or name in OWN_LABELS:
            raise ValueError(f"matchers: '{name[:80]}' is no label that may be named here")
