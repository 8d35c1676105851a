"""One process against two on the same port: windows a second of many agents, block by block."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from connections import Target
from crowd import Crowd
from headtail.tensor import TensorSpec
from paired import least_share, paired_ratios, spread
from processes import tree_cpu_s
from programs import Program, running

pytestmark = pytest.mark.bench
AGENTS, BLOCKS, BLOCK_S = 64, 7, 2.0
X = np.random.default_rng(1).standard_normal((1, 16, 2)).astype(np.float32)
INPUTS = (TensorSpec("x", "float32", X.shape),)


def start(stack: ExitStack, folder: Path, trust: Path, workers: int) -> tuple[Program, Target]:
    """Start a fog with so many workers; return it and its smallest whole model."""
    command = ("fog-server", "--bundles", folder, "--trust", trust, "--workers", str(workers))
    address = ("--listen", "127.0.0.1:0", "--max-agents", str(AGENTS))
    log = folder.parent / f"fog-{workers}.log"
    program = stack.enter_context(running((*command, *address), log))
    said = r"supervisor: serving on (\S+)$" if workers > 1 else r"serving on (\S+)$"
    return program, Target("stream", program.wait_for(said), "chain", "", INPUTS, (X,))


def test_two_workers_against_one(write_test_bundle, key_folder, tmp_path):
    """Print the ratio of their rates; no core is kept for anybody, clients take their part."""
    (tmp_path / "bundles").mkdir()
    write_test_bundle(tmp_path / "bundles")
    rates: dict[int, list[float]] = {1: [], 2: []}
    costs: dict[int, list[float]] = {1: [], 2: []}
    shares: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        fogs = {n: start(stack, tmp_path / "bundles", key_folder / "trust", n) for n in rates}
        crowd = stack.enter_context(Crowd())
        for workers, (_, target) in fogs.items():
            crowd.open(str(workers), target, AGENTS)
        for _ in range(BLOCKS):
            for workers, (program, _) in fogs.items():
                before_s = tree_cpu_s(program.process.pid)
                ran = crowd.run(str(workers), AGENTS, BLOCK_S)
                used_s = tree_cpu_s(program.process.pid) - before_s
                rates[workers].append(ran.requests / ran.wall_s)
                costs[workers].append(1e6 * used_s / ran.requests)
                shares[workers].append(least_share(ran.counts))
        crowd.close()
    print(f"\n{AGENTS} agents, one window of {X.nbytes} bytes in flight each, a tiny tail")
    for workers in rates:
        print(
            f"  {workers} worker{'s' * (workers > 1)}: {spread(rates[workers]).text(0)} windows/s,"
            f" {spread(costs[workers]).text(0)} us of the fog's CPU each,"
            f" the agent with least {spread(shares[workers]).text()} of the mean"
        )
    print(f"  two against one: {spread(paired_ratios(rates[2], rates[1])).text()} times")
