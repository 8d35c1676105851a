"""Certificates, authorities and the allow list are replaced under a running fog."""

import socket

from tls_site import EDGE, TIMEOUT_S, Site, Status, attempt, foreign, python_context, ready

from headtail.certificates import issue, valid_from_now
from headtail.identity import Identity, Role
from headtail.tls import ClientTls


def test_certificate_of_the_fog_is_replaced_without_restart(listed: Site) -> None:
    """A new connection sees the new one; what was open goes on; bad files change nothing."""
    cert = listed.folder / "issued" / "fog-fog-1.pem"
    tls = listed.certificate(EDGE)
    with listed.channel(tls) as before:
        assert ready(before)
        good = cert.read_bytes()
        cert.write_bytes(b"no certificate")
        with listed.channel(tls) as channel:
            assert ready(channel)
        assert "is not the private key of" in listed.program.text
        cert.write_bytes(good)
        old = _serial(listed)
        issue(listed.folder, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
        with listed.channel(tls) as channel:
            assert ready(channel)
        assert old != _serial(listed)
        assert ready(before)


def _serial(site: Site) -> str:
    context = python_context(site.certificate(EDGE))
    host, port = site.address.split(":")
    with (
        socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return str((secure.getpeercert() or {})["serialNumber"])


def test_authority_is_replaced_without_restart(listed: Site) -> None:
    """Both while agents move over, then the new one alone."""
    ca = listed.folder / "ca.pem"
    old, new = listed.certificate(EDGE), foreign(listed)
    first, second = ca.read_bytes(), (listed.folder / "foreign" / "ca.pem").read_bytes()
    trusts_first = listed.folder / "first.pem"
    trusts_first.write_bytes(first)
    clients = [ClientTls(trusts_first, tls.cert, tls.key) for tls in (old, new)]

    def statuses() -> list[Status]:
        found = []
        for tls in clients:
            with listed.channel(tls) as channel:
                found.append(attempt(lambda channel=channel: ready(channel)))
        return found

    try:
        ca.write_bytes(first + second)
        assert [Status.OK, Status.OK] == statuses()
        ca.write_bytes(second)
        assert [Status.UNAVAILABLE, Status.OK] == statuses()
    finally:
        ca.write_bytes(first)
    assert [Status.OK, Status.UNAVAILABLE] == statuses()


def test_allow_list_that_cannot_be_read_changes_nothing(listed: Site) -> None:
    """Half a file lets nobody in and throws nobody out."""
    path = listed.folder / "allow.toml"
    good = path.read_bytes()
    path.write_bytes(b"[identities]\n'edge/agent-8' = 'nobody'\n")
    listed.poke(lambda: "no role 'nobody'" in listed.program.text)
    with listed.channel(listed.certificate(EDGE)) as channel:
        assert ready(channel)
    path.write_bytes(good)
