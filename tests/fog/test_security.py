"""The table of security tests: real handshakes and calls against a running fog-server.

Each case is refused with its status, and the fog says so in one line.
"""

import os
import queue
import re
import ssl
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tls_site import (
    EDGE,
    MAX_MESSAGE_BYTES,
    OPERATOR,
    SERVICE,
    TIMEOUT_S,
    Site,
    Status,
    attempt,
    foreign,
    handshake,
    infer,
    python_context,
    ready,
    request,
)

from headtail.certificates import fingerprint
from headtail.identity import Identity, Role
from headtail.oip import read_stream_response
from headtail.tls import ClientTls
from headtail.v1.control_pb2 import FetchBundleRequest, ListBundlesRequest
from headtail.v1.control_pb2_grpc import ControlStub


def test_who_is_listed_is_served(listed: Site) -> None:
    """The right to infer, the right to fetch, and a name that the certificate bears out."""
    with listed.channel(listed.certificate(EDGE)) as channel:
        assert ready(channel)
        assert infer(channel, request(agent="agent-7"))
        assert infer(channel, request())
        assert ControlStub(channel).ListBundles(ListBundlesRequest()).bundles
        assert list(ControlStub(channel).FetchBundle(FetchBundleRequest(name="chain")))


def test_tls_13_is_what_is_agreed_on(listed: Site) -> None:
    assert ("TLSv1.3", "h2") == handshake(listed, python_context(listed.certificate(EDGE)))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_1"])
def test_downgrade_is_refused(version: str, listed: Site) -> None:
    """OpenSSL's client, with every cipher it has, and the right certificate."""
    context = python_context(listed.certificate(EDGE))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion[version]
    position = listed.position
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(listed, context)
    listed.one_line(position, "NO_SHARED_CIPHER|UNSUPPORTED_PROTOCOL")


def expired(site: Site) -> ClientTls:
    """Return a certificate that ended an hour ago."""
    return site.certificate(EDGE, days=1 / 24, now=datetime.now(UTC) - timedelta(hours=2))


def not_yet(site: Site) -> ClientTls:
    """Return a certificate that begins in an hour."""
    return site.certificate(EDGE, now=datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (foreign, "CERTIFICATE_VERIFY_FAILED"),
        (expired, "certificate has expired"),
        (not_yet, "certificate is not yet valid"),
    ],
    ids=["wrong CA", "expired", "not yet valid"],
)
def test_certificate_that_is_not_good_gets_no_connection(make, line, listed: Site) -> None:
    tls = make(listed)
    position = listed.position
    with listed.channel(tls) as channel:
        assert Status.UNAVAILABLE is attempt(lambda: ready(channel))
    listed.one_line(position, line)


def test_no_certificate_gets_no_connection(listed: Site) -> None:
    position = listed.position
    root = (listed.folder / "ca.pem").read_bytes()
    with grpc.secure_channel(listed.address, grpc.ssl_channel_credentials(root)) as channel:
        assert Status.UNAVAILABLE is attempt(lambda: ready(channel))
    listed.one_line(position, "PEER_DID_NOT_RETURN_A_CERTIFICATE")


def test_plaintext_gets_no_connection(listed: Site) -> None:
    position = listed.position
    with listed.channel(None) as channel:
        assert Status.UNAVAILABLE is attempt(lambda: ready(channel))
    listed.one_line(position, "WRONG_VERSION_NUMBER")


def test_who_is_not_listed_may_do_nothing(listed: Site) -> None:
    """Said once, however often it tries."""
    position = listed.position
    with listed.channel(listed.certificate(Identity(Role.EDGE, "agent-8"))) as channel:
        calls = (
            lambda: ready(channel),
            lambda: infer(channel, request()),
            lambda: ControlStub(channel).ListBundles(ListBundlesRequest()),
            lambda: list(ControlStub(channel).FetchBundle(FetchBundleRequest(name="chain"))),
        )
        assert [Status.PERMISSION_DENIED] * 4 == [attempt(call) for call in calls]
    listed.one_line(position, "edge/agent-8 is not on the allow list")


def test_the_right_of_another_role_is_not_there(listed: Site) -> None:
    """An operator may fetch and not infer."""
    position = listed.position
    with listed.channel(listed.certificate(OPERATOR)) as channel:
        assert ready(channel)
        assert Status.PERMISSION_DENIED is attempt(lambda: infer(channel, request()))
    listed.one_line(position, "operator/ann may not infer")


def test_revoked_certificate_is_refused_though_its_name_is_listed(listed: Site) -> None:
    """What is left after a theft: the name goes on with a new certificate."""
    stolen = listed.certificate(EDGE)
    certificate = x509.load_pem_x509_certificate(stolen.cert.read_bytes())
    with listed.channel(stolen) as channel:
        assert ready(channel)
        listed.allow(EDGE, revoked=(fingerprint(certificate),))
        position = listed.position
        assert Status.UNAUTHENTICATED is attempt(lambda: ready(channel))
    listed.one_line(position, "the certificate is revoked")
    with listed.channel(listed.certificate(EDGE)) as channel:
        assert ready(channel)


def test_open_stream_is_cut_off_with_its_agent(listed: Site) -> None:
    """Silent as it may be: it would hold one of the fog's places for as long as it likes."""
    with listed.channel(listed.certificate(EDGE)) as channel:
        frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        stream = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
        answers = stream(iter(frames.get, None), timeout=TIMEOUT_S)
        frames.put(request("1"))
        assert "1" == read_stream_response(next(answers)).id
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == next(watch).status
        position = listed.position
        listed.allow(OPERATOR)
        assert Status.CANCELLED is attempt(lambda: next(answers))
        assert Status.CANCELLED is attempt(lambda: next(watch))
        frames.put(None)
    assert 1 == sum("denied edge/agent-7" in line for line in listed.said_since(position))


def test_another_agent_s_name_is_refused(listed: Site) -> None:
    """On a call by its status, on a stream in the window's answer."""
    position = listed.position
    with listed.channel(listed.certificate(EDGE)) as channel:
        data = request(agent="agent-8")
        assert Status.PERMISSION_DENIED is attempt(lambda: infer(channel, data))
        stream = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
        bad, good = stream(iter([data, request("2")]), timeout=TIMEOUT_S)
    assert "PERMISSION_DENIED" == read_stream_response(bad).parameters["status"]
    assert not read_stream_response(good).error
    listed.one_line(position, "edge/agent-7 calls itself 'agent-8'")


def test_certificate_without_an_identity_is_nobody(listed: Site) -> None:
    """One of the right authority, as another tool would make it."""
    tls = listed.certificate(EDGE)
    authority = x509.load_pem_x509_certificate(tls.ca.read_bytes())
    signer = serialization.load_pem_private_key((listed.folder / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("headtail://owner/x")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(names, critical=True)
        .sign(signer, hashes.SHA256())
    )
    tls.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tls.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    position = listed.position
    with listed.channel(tls) as channel:
        assert Status.UNAUTHENTICATED is attempt(lambda: ready(channel))
    listed.one_line(position, "names 0 identities")


def stream_infer(channel: grpc.Channel, data: bytes) -> list[bytes]:
    """Send one message on a stream."""
    stream = channel.stream_stream(f"{SERVICE}ModelStreamInfer")
    return list(stream(iter([data]), timeout=TIMEOUT_S))


@pytest.mark.parametrize("send", [infer, stream_infer])
def test_oversize_message_is_refused_unread(send, listed: Site) -> None:
    """Refused by gRPC from its length; the fog's Python never sees it."""
    position = listed.position
    with listed.channel(listed.certificate(EDGE)) as channel:
        data = bytes(MAX_MESSAGE_BYTES + 1)
        assert Status.RESOURCE_EXHAUSTED is attempt(lambda: send(channel, data))
        assert ready(channel)
    listed.one_line(position, f"no message in a call from .* over {MAX_MESSAGE_BYTES} bytes")


def test_no_key_and_no_certificate_is_in_the_log(listed: Site) -> None:
    """After everything above, whatever it went through."""
    keys = [p.read_text() for p in listed.folder.rglob("*.key")]
    secrets = [line for key in keys for line in key.splitlines() if not line.startswith("-")]
    assert len(secrets) > 4
    names = re.findall('"sha256":"([0-9a-f]+)"', (listed.folder / "issued.jsonl").read_text())
    assert [] == [s for s in secrets if s in listed.program.text]
    assert "BEGIN" not in listed.program.text
    address = listed.program.wait_for(r"metrics on http://([^/]+)/")
    with urlopen(f"http://{address}/metrics") as page:
        text = page.read().decode()
    assert [] == [s for s in (*secrets, *names, "agent-7", "BEGIN") if s in text]
    for reason in ("not_listed", "no_right", "revoked", "impersonation", "unauthenticated"):
        assert f'fog_denied_calls_total{{reason="{reason}"}}' in text
    assert os.environ.get("GRPC_SSL_CIPHER_SUITES") is None  # the fog's own, not this process's
