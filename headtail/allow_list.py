"""The allow list: which identities a fog lets in, and what each may do."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from headtail.config import read_toml
from headtail.errors import ConfigError
from headtail.files import write_file
from headtail.identity import Identity, Role, parse_identity

_HEADER = """\
# Who may use this fog, and how. Read again when it changes; written by `headtail ca`.
# Rights: infer (run tails), fetch (list and download bundles), publish, administer.
"""


class Right(StrEnum):
    """One thing that an identity may do."""

    INFER = "infer"
    FETCH = "fetch"
    PUBLISH = "publish"
    ADMINISTER = "administer"


RoleName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
Fingerprint = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class AllowList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file; whoever is not in it may do nothing."""

    roles: dict[RoleName, tuple[Right, ...]] = {}
    """Rights by role; the names are free, those of certificates' roles come with `ca init`."""
    identities: dict[str, str] = {}
    """Role by identity: `"edge/agent-7" = "edge"`."""
    revoked: tuple[Fingerprint, ...] = ()
    """SHA-256 of certificates refused whatever their identity may do, as after a stolen key."""

    def __post_init__(self) -> None:
        for identity, role in self.identities.items():
            try:
                parse_identity(identity)
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if role not in self.roles:
                raise ValueError(f"identity '{identity}': no role '{role}'")

    def rights(self, identity: Identity) -> frozenset[Right]:
        """Return what an identity may do; nothing, where it is not listed."""
        role = self.identities.get(str(identity))
        return frozenset() if role is None else frozenset(self.roles[role])

    def with_identity(self, identity: Identity, role: str) -> "AllowList":
        """Return this list with an identity in a role; one of ours that it lacks is added."""
        usual = {name: rights for name, rights in DEFAULT_ROLES.items() if name == role}
        identities = {**self.identities, str(identity): role}
        return msgspec.structs.replace(self, roles=usual | self.roles, identities=identities)

    def without(self, identity: Identity, fingerprints: tuple[str, ...]) -> "AllowList":
        """Return this list without an identity, its certificates revoked."""
        kept = {i: r for i, r in self.identities.items() if i != str(identity)}
        revoked = tuple(dict.fromkeys((*self.revoked, *fingerprints)))
        return msgspec.structs.replace(self, identities=kept, revoked=revoked)


DEFAULT_ROLES: dict[str, tuple[Right, ...]] = {
    Role.EDGE.value: (Right.INFER, Right.FETCH),
    Role.FOG.value: (Right.INFER, Right.FETCH),
    Role.OPERATOR.value: (Right.FETCH, Right.PUBLISH, Right.ADMINISTER),
    Role.OPTIMIZER.value: (),
}


def read_allow_list(path: Path) -> AllowList:
    """Read the file.

    Raises:
        ConfigError: If it is missing or breaks a rule.
    """
    return read_toml(path, AllowList)


def write_allow_list(path: Path, allowed: AllowList) -> None:
    """Write the file.

    Raises:
        ConfigError: If it cannot be written.
    """
    write_file(path, encode_allow_list(allowed), 0o644)


def encode_allow_list(allowed: AllowList) -> bytes:
    """Return the file's TOML; it is made of plain names and needs no escapes."""
    revoked = "".join(f'  "{f}",\n' for f in allowed.revoked)
    roles = "".join(f'"{n}" = {_quoted(rights)}\n' for n, rights in sorted(allowed.roles.items()))
    identities = "".join(f'"{i}" = "{r}"\n' for i, r in sorted(allowed.identities.items()))
    text = f"{_HEADER}\nrevoked = [\n{revoked}]\n\n[roles]\n{roles}\n[identities]\n{identities}"
    return text.encode()


def _quoted(rights: tuple[Right, ...]) -> str:
    return "[" + ", ".join(f'"{right.value}"' for right in rights) + "]"
