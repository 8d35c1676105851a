"""Relayed calls are known by where they really come from."""

import pytest

from headtail.server.origin import Origins, origin_of, peer_text

REAL = "ipv4:192.0.2.7:40000"


@pytest.fixture
def origins() -> Origins:
    """Return a registry with one relay."""
    origins = Origins()
    origins.add(5000, REAL)
    return origins


def test_relayed_peer_is_whom_the_relay_works_for(origins):
    assert REAL == origins.of("ipv4:127.0.0.1:5000")


@pytest.mark.parametrize(
    "peer",
    [
        "ipv4:127.0.0.1:5001",
        "ipv4:127.0.0.2:5000",
        "ipv4:192.0.2.9:5000",
        "ipv6:%5B::1%5D:5000",
        "unix:",
        "unix:/run/x:5000",
        "ipv4:127.0.0.1:",
        "ipv4:127.0.0.1:\u0665",
        "",
    ],
)
def test_other_peers_are_themselves(origins, peer):
    assert peer == origins.of(peer) == origin_of(peer)


def test_call_that_outlives_its_connection_is_still_known(origins):
    origins.end(5000)
    assert REAL == origins.of("ipv4:127.0.0.1:5000")
    origins.add(5000, "ipv4:192.0.2.8:1")
    assert "ipv4:192.0.2.8:1" == origins.of("ipv4:127.0.0.1:5000")


def test_ended_connections_are_forgotten_after_a_thousand_more(origins):
    origins.end(5000)
    for port in range(10_000, 10_000 + 1023):
        origins.add(port, "ipv4:192.0.2.8:1")
        origins.end(port)
    assert REAL == origins.of("ipv4:127.0.0.1:5000")
    origins.add(20_000, "ipv4:192.0.2.8:1")
    origins.end(20_000)
    assert "ipv4:127.0.0.1:5000" == origins.of("ipv4:127.0.0.1:5000")
    assert len(origins._ended) == 1024


def test_end_of_what_never_began_is_no_matter(origins):
    origins.end(1)
    assert REAL == origins.of("ipv4:127.0.0.1:5000")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.7", 40000), REAL),
        (("::1", 1, 0, 0), "ipv6:%5B::1%5D:1"),
        (("::ffff:192.0.2.7", 40000, 0, 0), REAL),
        (("fe80::1%eth0", 2, 0, 3), "ipv6:%5Bfe80::1%25eth0%5D:2"),
    ],
)
def test_address_is_written_as_grpc_writes_it(address, text):
    assert text == peer_text(address)
