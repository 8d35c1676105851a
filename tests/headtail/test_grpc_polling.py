"""What the environment says of gRPC, and that messages pass whatever it says."""

import os
import subprocess
import sys

import pytest

from headtail.grpc_polling import VARIABLE, WITHOUT_ENGINE, poll_in_place

UNKNOWN = "Unknown experiment"
"""What gRPC logs of a name that its release does not know. It may log other things: that a server
that stops says so to a client that is just leaving, for one."""
PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from headtail.grpc_polling import poll_in_place
poll_in_place()
import grpc
def echo(frames, context):
    yield from frames
server = grpc.server(ThreadPoolExecutor(2))
method = grpc.stream_stream_rpc_method_handler(echo)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a", {"B": method}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    sent = [bytes([i]) * 300_000 for i in range(8)]
    assert sent == list(channel.stream_stream("/a/B")(iter(sent)))
server.stop(None).wait()
"""


def test_a_program_s_own_choice_stands(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mine")
    poll_in_place()
    assert "mine" == os.environ[VARIABLE]


def log_of_messages(experiments: str | None) -> str:
    """Return what gRPC logs while messages pass."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if experiments is not None:
        environment[VARIABLE] = experiments
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    ).stderr


@pytest.mark.parametrize("experiments", [None, ""])
def test_messages_pass_whatever_the_choice_and_its_names_are_known(experiments):
    assert UNKNOWN not in log_of_messages(experiments)


def test_a_name_that_grpc_does_not_know_is_logged():
    """Or the test above could not fail."""
    assert UNKNOWN in log_of_messages("-no_such_engine")


def test_the_choice_is_made_where_there_is_none(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    poll_in_place()
    assert WITHOUT_ENGINE == os.environ[VARIABLE]
