"""The table of security tests: real handshakes and calls against a running fog-server.

Each case is refused with its status, and the fog says so in one line.
"""

import os
import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headtail.allow_list import DEFAULT_ROLES, AllowList, read_allow_list, write_allow_list
from headtail.certificates import Validity, fingerprint, issue, make_authority, valid_from_now
from headtail.identity import Identity, Role
from headtail.inference.grpc_service_pb2 import ServerReadyRequest, ServerReadyResponse
from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_stream_response
from headtail.tensor import TensorSpec
from headtail.tls import ClientTls, secure_channel
from headtail.v1.control_pb2 import FetchBundleRequest, ListBundlesRequest
from headtail.v1.control_pb2_grpc import ControlStub
from programs import Program, running

SERVICE = "/inference.GRPCInferenceService/"
TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 1 << 20
EDGE, OPERATOR = Identity(Role.EDGE, "agent-7"), Identity(Role.OPERATOR, "ann")
X = np.zeros((1, 16, 2), np.float32)
Status = grpc.StatusCode


@dataclass(frozen=True)
class Site:
    """An authority and the fog that goes by it."""

    folder: Path
    program: Program
    address: str

    def certificate(
        self, identity: Identity, days: float = 1, now: datetime | None = None
    ) -> ClientTls:
        """Return the files of a new certificate of the site's authority."""
        made = issue(self.folder, identity, (), Validity(now or datetime.now(UTC), days))
        return ClientTls(self.folder / "ca.pem", made.cert, made.key)

    def channel(self, tls: ClientTls | None) -> grpc.Channel:
        """Return a channel to the fog."""
        return secure_channel(self.address, tls, [("grpc.use_local_subchannel_pool", 1)])

    def allow(self, *identities: Identity, revoked: tuple[str, ...] = ()) -> None:
        """Write the allow list and wait until the fog goes by it."""
        path = self.folder / "allow.toml"
        listed = {str(i): i.role.value for i in identities}
        allowed = AllowList(DEFAULT_ROLES, listed, revoked=revoked)
        if allowed == read_allow_list(path):
            return
        said = self.program.text.count("read again")
        write_allow_list(path, allowed)
        self.poke(lambda: self.program.text.count("read again") > said)

    def poke(self, until: Callable[[], bool]) -> None:
        """Call the fog, as anybody, until something has happened."""
        give_up_at = datetime.now() + timedelta(seconds=TIMEOUT_S)
        with self.channel(self.certificate(Identity(Role.EDGE, "poke"))) as channel:
            while not until():
                assert datetime.now() < give_up_at, self.program.text
                attempt(lambda: ready(channel))
                threading.Event().wait(0.02)

    def said_since(self, position: int) -> list[str]:
        """Return what the log has got since, the pokes left out."""
        lines = self.program.text[position:].splitlines()
        return [line for line in lines if "edge/poke" not in line]

    def one_line(self, position: int, pattern: str) -> None:
        """Wait for a line, and make sure that it is the only one."""
        give_up_at = datetime.now() + timedelta(seconds=TIMEOUT_S)
        while not self.said_since(position):
            assert datetime.now() < give_up_at, f"the fog never said {pattern}"
        (line,) = self.said_since(position)
        assert re.search(pattern, line), line

    @property
    def position(self) -> int:
        """Where the log is now."""
        return len(self.program.text)


@pytest.fixture(scope="module")
def site(write_test_bundle, key_folder, tmp_path_factory) -> Iterator[Site]:
    """Return a running fog that asks for certificates."""
    folder = tmp_path_factory.mktemp("site")
    write_test_bundle(folder / "bundles")
    make_authority(folder, "site", valid_from_now(1))
    made = issue(folder, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
    write_allow_list(folder / "allow.toml", AllowList(DEFAULT_ROLES))
    config = f"""
        bundles = "{folder / "bundles"}"
        listen = "127.0.0.1:0"
        metrics = "127.0.0.1:0"
        trust = "{key_folder / "trust"}"
        [wire]
        max_message_bytes = {MAX_MESSAGE_BYTES}
        [tls]
        ca = "{folder / "ca.pem"}"
        cert = "{made.cert}"
        key = "{made.key}"
        allow = "{folder / "allow.toml"}"
    """
    (folder / "fog.toml").write_text(config)
    command = ["fog-server", "--config", folder / "fog.toml"]
    with running(command, folder / "fog.log") as program:
        address = program.wait_for(r"serving on (\S+)")
        yield Site(folder, program, address)


@pytest.fixture
def listed(site: Site) -> Site:
    """Return the site with an agent and an operator on its allow list, and nobody else."""
    site.allow(EDGE, OPERATOR)
    return site


def ready(channel: grpc.Channel) -> bool:
    """Ask whether the server is ready."""
    call = channel.unary_unary(
        f"{SERVICE}ServerReady",
        request_serializer=ServerReadyRequest.SerializeToString,
        response_deserializer=ServerReadyResponse.FromString,
    )
    return call(ServerReadyRequest(), timeout=TIMEOUT_S).ready


def request(request_id: str = "1", **parameters: str) -> bytes:
    """Return an inference request's bytes."""
    writer = InferWriter("chain", "", [TensorSpec("x", "float32", X.shape)], RAW_INPUT_FIELD)
    return writer.write(request_id, parameters, [X])


def infer(channel: grpc.Channel, data: bytes) -> bytes:
    """Make one unary inference."""
    return channel.unary_unary(f"{SERVICE}ModelInfer")(data, timeout=TIMEOUT_S)


def attempt(call: Callable[[], object]) -> Status:
    """Return the status that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return Status.OK


def handshake(site: Site, context: ssl.SSLContext) -> tuple[str | None, str | None]:
    """Return the TLS version and protocol that Python's own TLS agrees on with the fog."""
    host, port = site.address.split(":")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        assert secure.recv(9)  # the fog's HTTP/2 settings: it took our certificate
        return secure.version(), secure.selected_alpn_protocol()


def python_context(tls: ClientTls) -> ssl.SSLContext:
    """Return a context of Python's own TLS with these files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    return context


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


def foreign(site: Site) -> ClientTls:
    """Return a certificate of another authority, for a listed name."""
    folder = site.folder / "foreign"
    if not folder.exists():
        make_authority(folder, "site", valid_from_now(1))
    made = issue(folder, EDGE, (), valid_from_now(1))
    return ClientTls(site.folder / "ca.pem", made.cert, made.key)


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
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("headtail://root/x")])
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


def test_oversize_message_is_refused_unread(listed: Site) -> None:
    """Refused by gRPC from its length; the fog's Python never sees it."""
    with listed.channel(listed.certificate(EDGE)) as channel:
        data = bytes(MAX_MESSAGE_BYTES + 1)
        assert Status.RESOURCE_EXHAUSTED is attempt(lambda: infer(channel, data))
        assert ready(channel)


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
