"""A cluster of two Ray nodes on one machine; one of them is lost in the middle."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra ray")

from executor_work import Work
from ray.cluster_utils import Cluster

from optimizer.executor.ray import RayExecutor

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    opened = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        yield opened
    finally:
        opened.shutdown()


def test_lost_node_and_killed_worker_lose_no_item(cluster: Cluster, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    work = Work(tmp_path, deaths={2: 1}, naps_s=0.2)
    with closing(RayExecutor(address=cluster.address)) as executor:
        run = executor.run(work, range(24))
        pairs = [next(run) for _ in range(8)]
        assert len(work.pids()) >= 2
        cluster.remove_node(second, allow_graceful=False)
        pairs += run
    assert 24 == len(pairs)
    assert work.expected(24) == dict(pairs)
