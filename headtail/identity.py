"""Who a program is to the others: the role and the name in its certificate."""

import re
from dataclasses import dataclass
from enum import StrEnum

from headtail.errors import ConfigError

SCHEME = "headtail://"
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """What a certificate is made for."""

    EDGE = "edge"
    FOG = "fog"
    OPERATOR = "operator"
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role and a name; `edge/agent-7` in lists, `headtail://edge/agent-7` in a certificate."""

    role: Role
    name: str

    def __post_init__(self) -> None:
        # The name becomes part of file names: no separator, no leading dot.
        if not NAME_PATTERN.fullmatch(self.name):
            raise ConfigError(
                "identity",
                f"name {self.name[:80]!r}: expected 1 to 64 letters, digits, '.', '_' or '-',"
                " not beginning with '.' or '-'",
            )

    def __str__(self) -> str:
        return f"{self.role.value}/{self.name}"

    @property
    def uri(self) -> str:
        """The certificate's subject alternative name."""
        return SCHEME + str(self)


def parse_identity(text: str) -> Identity:
    """Return the identity of `ROLE/NAME`.

    Raises:
        ConfigError: If it is none.
    """
    role, _, name = text.partition("/")
    if role not in set(Role):
        known = ", ".join(f"{r}/NAME" for r in Role)
        raise ConfigError("identity", f"expected one of {known}, received {text[:80]!r}")
    return Identity(Role(role), name)


def parse_uri(uri: str) -> Identity | None:
    """Return the identity of a certificate's URI; None where it is not one of ours."""
    if not uri.startswith(SCHEME):
        return None
    try:
        return parse_identity(uri.removeprefix(SCHEME))
    except ConfigError:
        return None
