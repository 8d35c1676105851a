"""What goes wrong for operators has an exit code of its own, and leaves the state as it was."""

import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import pytest
from operating import actions, wait_for

from fog_server.cli import main

DONE, AWAY, IMPOSSIBLE, SUPERSEDED, FULL = 0, 3, 4, 5, 8


@pytest.fixture
def ask(fog):
    """Return what runs a command against the fog, or another one, and returns its exit code."""

    def command(*words: str, address: str = fog.address) -> int:
        return main([*words, "--fog", address])

    return command


@pytest.mark.parametrize(
    "words",
    [
        ("canary", "nobody"),
        ("canary", "chain", "9.9"),
        ("canary", "chain", "f" * 64),
        ("share", "nobody", "10%"),
        ("share", "chain", "10%"),
        ("promote", "nobody"),
        ("promote", "chain", "9.9"),
        ("rollback", "nobody"),
        ("rollback", "chain"),
        ("retire", "nobody", "1.0"),
        ("retire", "chain", "9.9"),
        ("retire", "chain", "1.0"),
        ("bundles", "nobody"),
    ],
    ids=" ".join,
)
def test_bundle_that_is_not_there_or_not_so(ask, managed, words, capsys):
    """Unknown, or in a state that does not allow it."""
    before = managed.model()
    assert IMPOSSIBLE == ask(*words)
    assert capsys.readouterr().err.startswith("error: fog ")
    assert before.generation == managed.model().generation


def test_of_operators_at_once_one_is_heard(fog, ask, start_managed, managed, versions):
    """At two fogs of one folder, each for the generation that it saw: the others are told."""
    address = start_managed().address
    generation = ("--generation", str(managed.model().generation))
    wishes = [
        (*words, *generation)
        for words in (
            ("promote", "chain", "2.0"),
            ("canary", "chain", "2.0", "--share", "100%"),
            ("retire", "chain", "2.0"),
        )
    ]
    asked = [(w, a) for w in wishes for a in (fog.address, address) for _ in range(2)]
    start = threading.Barrier(len(asked))

    def at_once(wish: tuple[tuple[str, ...], str]) -> int:
        start.wait()
        return ask(*wish[0], address=wish[1])

    with ThreadPoolExecutor(len(asked)) as pool:
        codes = Counter(pool.map(at_once, asked))
    assert {DONE: 1, SUPERSEDED: len(asked) - 1} == codes
    assert 4 == managed.model().generation


def test_one_bundle_published_at_once_is_there_once(fog, ask, start_managed, managed, versions):
    """At two fogs of one folder; each says that it is there."""
    address = start_managed().address
    path, digest = versions["3.0"]
    start = threading.Barrier(4)

    def publish(address: str) -> int:
        start.wait()
        return ask("publish", str(path), address=address)

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(publish, [fog.address, address] * 2))
    assert [DONE] * 4 == codes
    assert 1 == actions(managed.model()).count(("publish", "3.0"))
    assert [digest] == [
        b.bundle.digest for b in managed.model().bundles if b.bundle.version == "3.0"
    ]


@pytest.fixture
def cut_off(fog):
    """Return the address of a link to the fog that breaks after some bytes of a publication."""
    host, port = fog.address.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, suppress(OSError):  # either end may hang up
            while data := source.recv(4096):
                sink.sendall(data)

    def serve() -> None:
        client, _ = listener.accept()
        there = socket.create_connection((host, int(port)))
        back = threading.Thread(target=forward, args=(there.dup(), client.dup()), daemon=True)
        back.start()
        left = 2000
        while left > 0 and (data := client.recv(left)):
            there.sendall(data)
            left -= len(data)
        listener.close()
        for one in (client, there):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        back.join()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    thread.join()


def test_fog_that_goes_away_while_a_bundle_is_sent(ask, cut_off, versions, managed, folder, capsys):
    """Nothing of it is left, and the command may be repeated."""
    path, _ = versions["3.0"]
    assert 2000 < path.stat().st_size, "the link breaks in the middle"
    assert AWAY == ask("publish", str(path), "--timeout", "60s", address=cut_off)
    assert capsys.readouterr().err.startswith(f"error: fog {cut_off}: ")
    wait_for(lambda: not list((folder / "rollout").glob("upload-*")))
    assert {"1.0": "active", "2.0": "candidate"} == managed.states()
    assert DONE == ask("publish", str(path))


def test_store_that_holds_enough(template, folder, start_managed, operate, versions, capsys):
    """It says what there is and what came; with room the same command goes through."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    size = versions["2.0"][0].stat().st_size
    server = start_managed(max_store_bytes=size + 10)
    words = ["publish", str(versions["3.0"][0]), "--fog", server.address]
    assert FULL == main(words)
    assert f"no room: {size} of {size + 10} bytes hold bundles" in capsys.readouterr().err
    operator = operate(server.address)
    assert {"1.0": "active", "2.0": "candidate"} == operator.states()
    for _ in range(2):  # retired, then removed
        assert DONE == main(["retire", "chain", "2.0", "--fog", server.address])
    assert DONE == main(words)


@pytest.fixture
def small_disk(folder):
    """Mount a file system of 66 MiB as the folder of bundles."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=66m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system may be mounted: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_disk_that_is_full(small_disk, template, start_managed, operate, versions, capsys):
    """Neither a bundle nor a change gets in; what was, goes on, and with room both do."""
    shutil.copytree(template, small_disk, dirs_exist_ok=True)
    server = start_managed()
    operator = operate(server.address)
    before = operator.model().generation
    waste = small_disk / "waste"
    waste.write_bytes(bytes(4 << 20))
    publish = ["publish", str(versions["3.0"][0]), "--fog", server.address]
    assert FULL == main(publish)
    assert "0 bytes are free" in capsys.readouterr().err
    with suppress(OSError), waste.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    assert FULL == main(["promote", "chain", "2.0", "--fog", server.address])
    assert {"1.0": "active", "2.0": "candidate"} == operator.states()
    assert before == operator.model().generation
    waste.unlink()
    assert DONE == main(publish)
    assert DONE == main(["promote", "chain", "2.0", "--fog", server.address])


def test_fog_that_ends_while_a_verdict_is_waited_for(fog, ask, managed, start_managed, operate):
    """The command asks again until its time is over; the canary goes on with the next fog."""
    result: list[int] = []
    words = ("canary", "chain", "2.0", "--share", "100%", "--bake", "1h", "--wait", "8s")
    thread = threading.Thread(target=lambda: result.append(ask(*words)))
    thread.start()
    wait_for(lambda: managed.states()["2.0"] == "canary")
    fog.drain()
    thread.join()
    assert [AWAY] == result
    assert "canary" == operate(start_managed().address).states()["2.0"]


def test_call_that_the_fog_cancels(capsys):
    """So ends now and then what is under way when a fog stops: it is away, as any that ends."""

    def cancel(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.cancel()
        return b""

    rollouts = {"ListRollouts": grpc.unary_unary_rpc_method_handler(cancel)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_registered_method_handlers("headtail.v1.Rollouts", rollouts)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    assert AWAY == main(["bundles", "--fog", address])
    assert "CANCELLED" in capsys.readouterr().err
    server.stop(0).wait()
