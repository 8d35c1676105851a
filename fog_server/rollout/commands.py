"""What operators do from a shell: publish, bundles, canary, share, promote, rollback, retire.

Each reads how the model stands and asks for a change of that generation, so that of two operators
one is told. With `--json` standard output is one JSON object.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

import grpc
import msgspec

from fog_server.rollout.client import AWAY_STATUSES, Client, is_away
from fog_server.rollout.command_line import limits_of, make_parser
from fog_server.rollout.text import as_dict, published_text, rollout_text
from headtail.errors import HeadtailError
from headtail.tls import choose_files, require_tls13
from headtail.v1 import control_pb2 as pb

FAILED, AWAY, REFUSED, SUPERSEDED, DENIED, INVALID, FULL = 1, 3, 4, 5, 6, 7, 8
ROLLED_BACK, UNDECIDED = 10, 11
EXIT_CODES: Mapping[grpc.StatusCode, int] = MappingProxyType(
    {
        **dict.fromkeys(AWAY_STATUSES, AWAY),
        grpc.StatusCode.NOT_FOUND: REFUSED,
        grpc.StatusCode.FAILED_PRECONDITION: REFUSED,
        grpc.StatusCode.ABORTED: SUPERSEDED,
        grpc.StatusCode.UNAUTHENTICATED: DENIED,
        grpc.StatusCode.PERMISSION_DENIED: DENIED,
        grpc.StatusCode.INVALID_ARGUMENT: INVALID,
        grpc.StatusCode.RESOURCE_EXHAUSTED: FULL,
    }
)
_POLL_S = 1.0
Output = tuple[int, dict[str, object], str]
"""Exit code, what `--json` prints, what people read."""


def main(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    flags = make_parser().parse_args(argv)
    try:
        tls = choose_files(flags.tls_ca or "", flags.tls_cert or "", flags.tls_key or "")
        require_tls13()
        with closing(Client(flags.fog, tls, flags.timeout)) as client:
            code, found, text = COMMANDS[flags.command](client, flags)
    except grpc.RpcError as error:
        status = error.code()
        reason = " ".join((error.details() or "").split())
        return _fail(
            flags, EXIT_CODES.get(status, FAILED), status.name, f"fog {flags.fog}: {reason}"
        )
    except HeadtailError as error:
        return _fail(flags, FAILED, "", str(error))
    _print(flags, found, text)
    return code


def _publish(client: Client, flags: argparse.Namespace) -> Output:
    answer = client.publish(flags.file, flags.reason, allow_older=flags.allow_older)
    return 0, as_dict(answer), published_text(answer)


def _bundles(client: Client, flags: argparse.Namespace) -> Output:
    found = client.rollouts(flags.name, with_agents=flags.agents)
    text = "\n".join(map(rollout_text, found)) or "no bundles"
    return 0, {"rollouts": [as_dict(rollout) for rollout in found]}, text


def _canary(client: Client, flags: argparse.Namespace) -> Output:
    rules = pb.CanaryRules(**limits_of(flags))
    if flags.share is not None:
        rules.share_ratio = flags.share
    if flags.promotes is not None:
        rules.promotes = flags.promotes
    request = pb.StartCanaryRequest(
        bundle=_ref(flags),
        generation=_generation(client, flags),
        rules=rules,
        reason=flags.reason,
    )
    rollout = client.start_canary(request)
    started = next(e for e in rollout.events if e.action == "canary")
    if flags.wait is None:
        taken_back = not rollout.HasField("canary")
        return ROLLED_BACK if taken_back else 0, as_dict(rollout), rollout_text(rollout)
    return _wait(client, flags, started)


def _wait(client: Client, flags: argparse.Namespace, started: pb.Event) -> Output:
    """Wait until a canary is promoted or rolled back; the fog may go away meanwhile."""
    give_up_at = time.monotonic() + flags.wait
    while True:
        try:
            rollout = client.rollout(flags.name)
        except grpc.RpcError as error:
            if not is_away(error) or time.monotonic() >= give_up_at:
                raise
        else:
            ended = end_of(rollout, started)
            if ended is not None or time.monotonic() >= give_up_at:
                code = {None: UNDECIDED, "promote": 0}.get(ended, ROLLED_BACK)
                return code, as_dict(rollout), rollout_text(rollout)
        time.sleep(min(_POLL_S, max(0.0, give_up_at - time.monotonic())))


def end_of(rollout: pb.Rollout, started: pb.Event) -> str | None:
    """Return what ended a canary, or None while it goes on."""
    for event in reversed(rollout.events):
        is_later = event.generation > started.generation and event.digest == started.digest
        if is_later and event.action in ("promote", "roll_back"):
            return event.action
    return None


def _share(client: Client, flags: argparse.Namespace) -> Output:
    request = pb.SetCanaryShareRequest(
        name=flags.name,
        generation=_generation(client, flags),
        share_ratio=flags.share,
        reason=flags.reason,
    )
    return _shown(client.set_share(request))


def _promote(client: Client, flags: argparse.Namespace) -> Output:
    request = pb.PromoteRequest(
        bundle=_ref(flags), generation=_generation(client, flags), reason=flags.reason
    )
    return _shown(client.promote(request))


def _roll_back(client: Client, flags: argparse.Namespace) -> Output:
    request = pb.RollBackRequest(
        name=flags.name, generation=_generation(client, flags), reason=flags.reason
    )
    return _shown(client.roll_back(request))


def _retire(client: Client, flags: argparse.Namespace) -> Output:
    request = pb.RetireRequest(
        bundle=_ref(flags), generation=_generation(client, flags), reason=flags.reason
    )
    return _shown(client.retire(request))


COMMANDS: Mapping[str, Callable[[Client, argparse.Namespace], Output]] = MappingProxyType(
    {
        "publish": _publish,
        "bundles": _bundles,
        "canary": _canary,
        "share": _share,
        "promote": _promote,
        "rollback": _roll_back,
        "retire": _retire,
    }
)


def _shown(rollout: pb.Rollout) -> Output:
    return 0, as_dict(rollout), rollout_text(rollout)


def _ref(flags: argparse.Namespace) -> pb.BundleRef:
    which = flags.version or ""
    is_digest = len(which) >= 12 and "." not in which
    return pb.BundleRef(
        name=flags.name, version="" if is_digest else which, digest=which if is_digest else ""
    )


def _generation(client: Client, flags: argparse.Namespace) -> int:
    """Return the generation that the change is made for: the one named, or the one now."""
    if flags.generation is not None:
        named: int = flags.generation
        return named
    return client.rollout(flags.name).generation


def _fail(flags: argparse.Namespace, code: int, status: str, reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    if flags.json:
        _print(flags, {"error": reason, "status": status, "exit_code": code}, "")
    return code


def _print(flags: argparse.Namespace, found: dict[str, object], text: str) -> None:
    output = msgspec.json.encode(found).decode() if flags.json else text
    sys.stdout.write(f"{output}\n")
