"""A site with an authority, a running fog that asks for certificates, and calls to it."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np

from headtail.allow_list import DEFAULT_ROLES, AllowList, read_allow_list, write_allow_list
from headtail.certificates import Validity, issue, make_authority, valid_from_now
from headtail.identity import Identity, Role
from headtail.inference.grpc_service_pb2 import ServerReadyRequest, ServerReadyResponse
from headtail.oip import RAW_INPUT_FIELD, InferWriter
from headtail.tensor import TensorSpec
from headtail.tls import ClientTls, secure_channel
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


@contextmanager
def site_running(folder: Path, trust: Path) -> Iterator[Site]:
    """Run a fog that asks for certificates, with the bundles in `folder`."""
    make_authority(folder, "site", valid_from_now(1))
    made = issue(folder, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
    write_allow_list(folder / "allow.toml", AllowList(DEFAULT_ROLES))
    config = f"""
        bundles = "{folder / "bundles"}"
        listen = "127.0.0.1:0"
        metrics = "127.0.0.1:0"
        trust = "{trust}"
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


def foreign(site: Site) -> ClientTls:
    """Return a certificate of another authority, for a listed name."""
    folder = site.folder / "foreign"
    if not folder.exists():
        make_authority(folder, "site", valid_from_now(1))
    made = issue(folder, EDGE, (), valid_from_now(1))
    return ClientTls(site.folder / "ca.pem", made.cert, made.key)
