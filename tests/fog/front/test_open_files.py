"""A front needs more open files than systems give at first: what a program does about it."""

import resource
import subprocess
import sys

import pytest

from fog_server.front.open_files import OTHERS, files_of

CODE = """
import logging, resource, sys
from fog_server.front.open_files import allow_files

soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
allow_files(wanted)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
SHORT = (
    "WARNING expected room for 900 open files, the system gives {}: connections may have to wait"
)


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "said"),
    [
        (300, 1000, 200, ["300 1000"]),
        (300, 1000, 900, ["900 1000"]),
        (300, 500, 900, [SHORT.format(500), "500 500"]),
        (300, 300, 900, [SHORT.format(300), "300 300"]),
    ],
)
def test_soft_limit_rises_as_far_as_it_may_and_is_needed(soft, hard, wanted, said):
    """In a process of its own: a hard limit never rises again."""
    command = [sys.executable, "-c", CODE, str(soft), str(hard), str(wanted)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said == ended.stdout.splitlines()


def test_server_has_room_for_every_connection_that_it_admits(start_fog):
    """Of each that it relays it holds three ends: the client's, and both of that to gRPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        server = start_fog(wire={"max_agents": 64})
        assert 320 == server._front._bounds.max_connections
        assert files_of(320, 65) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert 3 * 320 + 65 + OTHERS == files_of(320, 65)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
