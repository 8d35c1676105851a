"""What the environment says of gRPC, and that messages pass whatever it says."""

import os
import subprocess
import sys

import pytest

from headtail.grpc_polling import VARIABLE, WITHOUT_ENGINE, poll_in_place

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


@pytest.mark.parametrize("experiments", [None, ""])
def test_messages_pass_whatever_the_choice_and_it_says_nothing(monkeypatch, experiments):
    """Were the names unknown to this release of gRPC, it would say so."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if experiments is not None:
        monkeypatch.setenv(VARIABLE, experiments)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, timeout=60, check=True, text=True
    )
    assert "" == done.stderr


def test_the_choice_is_made_where_there_is_none(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    poll_in_place()
    assert WITHOUT_ENGINE == os.environ[VARIABLE]
