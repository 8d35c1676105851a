"""Who a request is from."""

import pytest

from fog_server.identity import identity_of
from headtail.errors import RequestInvalid
from headtail.oip import InferRequest
from headtail.server.peer import peer_host


class Context:
    """The part of a call's context that is looked at."""

    def peer(self) -> str:
        """Return where the call comes from."""
        return "ipv4:10.0.0.7:51234"

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return what the transport proved: nothing."""
        return {}


def request(**parameters) -> InferRequest:
    """Return a request with these parameters."""
    return InferRequest("m", "", "1", parameters, ())


def test_agent_names_itself() -> None:
    """Without a certificate it is believed."""
    assert "agent-7" == identity_of(Context(), request(agent="agent-7"))


def test_nameless_is_its_host() -> None:
    """Its port changes with each connection."""
    assert "10.0.0.7" == identity_of(Context(), request())


@pytest.mark.parametrize("name", ["", "x" * 129, 7, True])
def test_odd_name_is_refused(name) -> None:
    """Names are kept in memory, so they are bounded."""
    with pytest.raises(RequestInvalid, match="expected a name of 1 to 128 letters"):
        identity_of(Context(), request(agent=name))


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:1.2.3.4:5", "1.2.3.4"), ("ipv6:[::1]:5", "[::1]"), ("unix:", "unix:"), ("", "local")],
)
def test_host_of_a_peer(peer: str, host: str) -> None:
    """In every form gRPC gives it."""
    assert host == peer_host(peer)
