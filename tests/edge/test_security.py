"""The agent over mutual TLS: the right fog serves it, a wrong one never sees a window."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.cli import main
from fog_server.config import Config as FogConfig
from fog_server.config import Wire
from fog_server.server import FogServer
from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
from headtail.certificates import issue, make_authority, valid_from_now
from headtail.errors import ConfigError
from headtail.identity import Identity, Role
from headtail.server.config import Tls
from headtail.tls import ClientTls
from programs import running

AGENT = Identity(Role.EDGE, "agent-7")


def make_site(folder: Path, *listed: Identity) -> tuple[ClientTls, Tls]:
    """Make an authority; return an agent's files and a fog's settings."""
    make_authority(folder, "site", valid_from_now(1))
    fog = issue(folder, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
    agent = issue(folder, AGENT, [], valid_from_now(1))
    allowed = AllowList(DEFAULT_ROLES, {str(i): i.role.value for i in listed})
    write_allow_list(folder / "allow.toml", allowed)
    paths = folder / "ca.pem", fog.cert, fog.key, folder / "allow.toml"
    return ClientTls(folder / "ca.pem", agent.cert, agent.key), Tls(*map(str, paths))


def settings(tls: ClientTls) -> dict[str, str]:
    """Return the agent's settings for its files."""
    return {"tls_ca": str(tls.ca), "tls_cert": str(tls.cert), "tls_key": str(tls.key)}


@pytest.fixture
def start_tls_fog(bundle_path: Path, key_folder: Path) -> Iterator[Callable[[Tls], FogServer]]:
    """Return a function that starts a fog which asks for certificates."""
    servers = []

    def start(tls: Tls) -> FogServer:
        config = FogConfig(
            bundles=str(bundle_path.parent),
            listen="127.0.0.1:0",
            trust=str(key_folder / "trust"),
            wire=Wire(settle_s=0.05),
            tls=tls,
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


def test_listed_agent_is_served(run_agent, start_tls_fog, expected, tmp_path) -> None:
    """Every window by the fog, and the same answers as without TLS."""
    agent, fog = make_site(tmp_path / "site", AGENT)
    lines = run_agent(fog=start_tls_fog(fog).address, **settings(agent))
    assert {"fog"} == {line["where"] for line in lines}
    np.testing.assert_allclose([line["output"] for line in lines], expected, atol=1e-5)


def test_bundle_is_fetched_over_tls(run_agent, start_tls_fog, tmp_path) -> None:
    agent, fog = make_site(tmp_path / "site", AGENT)
    address, state = start_tls_fog(fog).address, str(tmp_path / "state")
    lines = run_agent(bundle="", model="chain", state=state, fog=address, **settings(agent))
    assert {"fog"} == {line["where"] for line in lines}


def test_fog_of_another_authority_gets_no_window(
    run_agent, start_tls_fog, expected, tmp_path, caplog
) -> None:
    """It has the right name and a good certificate, of an authority the agent does not know."""
    agent, _ = make_site(tmp_path / "site", AGENT)
    _, impostor = make_site(tmp_path / "elsewhere", AGENT)
    lines = run_agent(fog=start_tls_fog(impostor).address, **settings(agent))
    assert {"edge"} == {line["where"] for line in lines}
    np.testing.assert_allclose([line["output"] for line in lines], expected, atol=1e-5)
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


def test_agent_that_speaks_plaintext_or_tls_to_the_other_kind(
    run_agent, start_tls_fog, start_fog, tmp_path
) -> None:
    """Neither side gives in: the windows are finished on the edge."""
    agent, fog = make_site(tmp_path / "site", AGENT)
    plain = run_agent(fog=start_tls_fog(fog).address, connect_s=1.0)
    assert {"edge"} == {line["where"] for line in plain}
    secure = run_agent(fog=start_fog().address, connect_s=1.0, **settings(agent))
    assert {"edge"} == {line["where"] for line in secure}


def test_key_of_another_and_half_the_settings_are_named(run_agent, tmp_path) -> None:
    """Before anything runs."""
    agent, _ = make_site(tmp_path / "site", AGENT)
    given = settings(agent)
    del given["tls_key"]
    with pytest.raises(ConfigError, match=r"--tls-key: .*are needed together"):
        run_agent(fog="127.0.0.1:1", **given)


@pytest.mark.parametrize("what", [["--bundle", "x.bundle"], ["--model", "chain"]])
def test_plaintext_does_not_leave_this_machine_unasked(what, capsys, tmp_path) -> None:
    """Not for windows, not for a bundle."""
    command = ["run", *what, "--fog", "192.0.2.1:8500", "--source", "stdin"]
    assert main([*command, "--state", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "error: --fog: 192.0.2.1:8500 is not this machine" in error
    assert 1 == error.count("\n")


def old_server(tls: Tls) -> tuple[str, list[str]]:
    """Start a server of OpenSSL that speaks TLS 1.2 at most; return its address and what it saw."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL")
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[str] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    seen.append(str(secure.version()))
            except OSError as error:
                seen.append(str(error))

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}", seen


def test_agent_does_not_go_down_to_tls_12(bundle_path, key_folder, npz, expected, tmp_path) -> None:
    """The real program: another process may have used gRPC before it could be told."""
    agent, fog = make_site(tmp_path / "site", AGENT)
    address, seen = old_server(fog)
    sink = tmp_path / "results.jsonl"
    files = ["--tls-ca", agent.ca, "--tls-cert", agent.cert, "--tls-key", agent.key]
    command = ["edge-agent", "run", "--bundle", bundle_path, "--trust", key_folder / "trust"]
    command += ["--source", npz, "--sink", f"jsonl:{sink}", "--fog", address, *files]
    command += ["--connect-s", "30"]
    with running([*command, "--view", "off"], tmp_path / "log") as program:
        program.wait_for(r"(done:)")
    assert seen
    assert not [s for s in seen if not re.search("NO_SHARED_CIPHER|UNSUPPORTED_PROTOCOL", s)]
    assert len(expected) == len(sink.read_text().splitlines())
    assert "SSLV3_ALERT_HANDSHAKE_FAILURE" in program.text
    assert all(
        line not in program.text
        for line in agent.key.read_text().splitlines()
        if not line.startswith("-")
    )
