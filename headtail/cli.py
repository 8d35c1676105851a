"""The command `headtail`: a private certificate authority, and keys that sign bundles."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from headtail.errors import HeadtailError
from headtail.identity import Identity, Role

EXAMPLES = """\
examples:
  headtail ca init ca                                        # ca/ca.pem, ca/ca.key, ca/allow.toml
  headtail ca issue ca --role fog --name fog-1 --host fog.example --host 10.0.0.5
  headtail ca issue ca --role edge --name agent-7            # ca/issued/edge-agent-7.{pem,key}
  headtail ca revoke ca --role edge --name agent-7           # then copy ca/allow.toml to the fogs
  headtail keys new bundles                                  # bundles.key signs, bundles.pub trusts

Copy ca.pem and its own certificate and key to each machine, and allow.toml to the fogs. ca.key
stays where it was made. Running fogs read changed files by themselves.
"""
ALLOW_LIST = "allow.toml"
CA_DAYS, LEAF_DAYS = 3650, 365


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        for line in arguments.run(arguments):
            sys.stdout.write(f"{line}\n")
    except HeadtailError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="headtail",
        description="Certificates for mutual TLS, and keys that sign bundles.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('headtail')}")
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    ca = groups.add_parser("ca", help="a private certificate authority in a folder")
    _add_ca(ca.add_subparsers(required=True, metavar="ACTION"))
    keys = groups.add_parser("keys", help="keys that sign bundles")
    new = keys.add_subparsers(required=True, metavar="ACTION").add_parser(
        "new", help="make NAME.key, which signs, and NAME.pub, which readers trust"
    )
    new.add_argument("name", metavar="NAME", help="path of both files, without the ending")
    new.set_defaults(run=_new_keys)
    return parser


def _add_ca(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    init = actions.add_parser("init", help="make the authority and an empty allow list")
    init.add_argument("folder", type=Path, metavar="DIR")
    init.add_argument("--name", default="headtail", help="the authority's name in certificates")
    init.add_argument("--days", type=float, default=CA_DAYS, help=f"default: {CA_DAYS}")
    init.set_defaults(run=_init)
    issue = actions.add_parser("issue", help="issue a certificate and list its identity")
    revoke = actions.add_parser("revoke", help="take an identity and its certificates off the list")
    for action in (issue, revoke):
        action.add_argument("folder", type=Path, metavar="DIR")
        action.add_argument("--role", type=Role, choices=list(Role), required=True)
        action.add_argument("--name", required=True, help="of the agent, fog, operator or service")
    issue.add_argument(
        "--host", action="append", default=[], help="a server's name or address; may be repeated"
    )
    issue.add_argument("--days", type=float, default=LEAF_DAYS, help=f"default: {LEAF_DAYS}")
    issue.set_defaults(run=_issue)
    revoke.set_defaults(run=_revoke)


def _init(arguments: argparse.Namespace) -> list[str]:
    from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
    from headtail.certificates import make_authority, valid_from_now

    folder = arguments.folder
    path = make_authority(folder, arguments.name, valid_from_now(arguments.days))
    write_allow_list(folder / ALLOW_LIST, AllowList(roles=DEFAULT_ROLES))
    return [f"authority {path}", f"allow list {folder / ALLOW_LIST}"]


def _issue(arguments: argparse.Namespace) -> list[str]:
    from headtail.allow_list import read_allow_list, write_allow_list
    from headtail.certificates import issue, valid_from_now

    path = arguments.folder / ALLOW_LIST
    allowed = read_allow_list(path)
    identity = Identity(arguments.role, arguments.name)
    role = allowed.identities.get(str(identity), identity.role.value)
    issued = issue(arguments.folder, identity, arguments.host, valid_from_now(arguments.days))
    write_allow_list(path, allowed.with_identity(identity, role))
    return [f"certificate {issued.cert}", f"key {issued.key}", f"{path} lists {identity} as {role}"]


def _revoke(arguments: argparse.Namespace) -> list[str]:
    from headtail.allow_list import read_allow_list, write_allow_list
    from headtail.certificates import issued_to

    path = arguments.folder / ALLOW_LIST
    identity = Identity(arguments.role, arguments.name)
    revoked = tuple(issued_to(arguments.folder, identity))
    write_allow_list(path, read_allow_list(path).without(identity, revoked))
    return [f"{path} no longer lists {identity}; {len(revoked)} certificates revoked"]


def _new_keys(arguments: argparse.Namespace) -> list[str]:
    from headtail.bundle.keys import key_id, read_public, write_key_pair

    private, public = Path(f"{arguments.name}.key"), Path(f"{arguments.name}.pub")
    write_key_pair(private, public)
    return [f"key {private}", f"trusted by {public} ({key_id(read_public(public))})"]


if __name__ == "__main__":
    sys.exit(main())
