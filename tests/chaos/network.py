"""A bad network for minutes: a proxy drops, delays, reorders, half-closes, black-holes and cuts.

An agent whose windows end in the fog reads its standard input through all of it. Afterwards its
sink must hold every sequence exactly once, and every result must be the whole model's.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from proxy import Proxy
from scene import BIN, POINT, Scene, agent_command, fog, free_address, judge, make_scene

DEADLINE_S = 0.5
MAX_FAULT_S, MAX_CALM_S = 1.5, 1.0
FINISH_S = 120.0
Fault = Callable[[Proxy, random.Random], None]
FAULTS: dict[str, Fault] = {
    "drop": lambda proxy, rng: proxy.drop(),
    "delay": lambda proxy, rng: proxy.delay(rng.random() * 2 * DEADLINE_S, rng.random() * 0.2),
    "reorder": lambda proxy, rng: (proxy.reorder(rng.random() * 0.5), proxy.drop())[0],
    "half-close up": lambda proxy, rng: proxy.half_close("up"),
    "half-close down": lambda proxy, rng: proxy.half_close("down"),
    "black hole": lambda proxy, rng: proxy.black_hole(),
    "refuse": lambda proxy, rng: (proxy.refuse(), proxy.drop())[0],
    "cut": lambda proxy, rng: proxy.cut(rng.randrange(1, 4096)),
}


class PacedAgent:
    """An agent fed through its standard input while the network is bad."""

    def __init__(self, scene: Scene, address: str, name: str) -> None:
        """Start it."""
        self._scene = scene
        self.sink = scene.folder / f"{name}.jsonl"
        self._sent = 0
        flags = ["--fog", address, "--point", str(POINT), "--deadline-s", str(DEADLINE_S)]
        flags += ["--reconnect-cap-s", "0.5", "--source", "stdin"]
        command = agent_command(scene, self.sink, *flags)
        self.log = self.sink.with_suffix(".log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [BIN / command[0], *command[1:]], stdin=subprocess.PIPE, stderr=log
            )

    def feed(self, count: int) -> None:
        """Send the next windows."""
        assert self._process.stdin is not None
        for _ in range(min(count, len(self._scene.windows) - self._sent)):
            self._process.stdin.write(self._scene.line(self._sent))
            self._sent += 1
        self._process.stdin.flush()

    def finish(self) -> tuple[int, bool]:
        """Send the rest, wait, and return the exit status and whether the sink is right."""
        self.feed(len(self._scene.windows))
        try:
            self._process.communicate(timeout=FINISH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        verdict = judge(self._scene, self.sink)
        status = self._process.returncode
        print(f"{self.sink.stem}: exited {status}; {verdict.describe()}")
        if status or not verdict.is_good:
            print(self.log.read_text()[-2000:])
        return status, verdict.is_good


def misbehave(
    proxy: Proxy, agent: PacedAgent, arguments: argparse.Namespace, rng: random.Random
) -> "Counter[str]":
    """Strike with one fault after the other while windows pass; return how often each came."""
    counts: Counter[str] = Counter()
    stop_s = time.monotonic() + arguments.seconds
    per_s = arguments.windows / arguments.seconds
    names = list(FAULTS)
    while time.monotonic() < stop_s:
        name = names[sum(counts.values()) % len(names)] if rng.random() < 0.5 else rng.choice(names)
        counts[name] += 1
        for act, most_s in ((FAULTS[name], MAX_FAULT_S), (None, MAX_CALM_S)):
            begin_s = time.monotonic()
            wait_s = rng.uniform(0.05, most_s)
            if act is None:
                proxy.pass_on()
            else:
                agent.feed(4)  # something is under way when it strikes
                act(proxy, rng)
            while (left_s := begin_s + wait_s - time.monotonic()) > 0:
                agent.feed(max(1, round(per_s * 0.02)))
                time.sleep(min(0.02, left_s))
    proxy.pass_on()
    return counts


def run(arguments: argparse.Namespace, folder: Path) -> bool:
    """Run the agents behind the proxy; print the counts; return whether all is right."""
    rng = random.Random(arguments.seed)
    scene, address = make_scene(folder, arguments.windows, arguments.seed), free_address()
    with fog(scene, address) as program, Proxy(address, seed=arguments.seed) as proxy:
        agent = PacedAgent(scene, proxy.address, "agent")
        counts = misbehave(proxy, agent, arguments, rng)
        results = [agent.finish()]
        print(f"faults: {dict(counts)}; connections: {dict(proxy.counts)}")
        tracebacks = program.text.count("Traceback") + agent.log.read_text().count("Traceback")
        is_alive = program.process.poll() is None
    print(f"fog {'alive' if is_alive else 'DEAD'}; {tracebacks} tracebacks in the logs")
    is_good = is_alive and not tracebacks and all(not s and good for s, good in results)
    print("network: PASS" if is_good else "network: FAIL")
    return is_good


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="of misbehaviour (default 180)"
    )
    parser.add_argument("--windows", type=int, default=10_000, help="that pass (default 10,000)")
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="network-") as folder:
        return 0 if run(parser.parse_args(), Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
