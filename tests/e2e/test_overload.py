"""An agent over its rate: it honours the delay, finishes on the edge, and loses nothing."""

import json
import re
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from programs import running

pytestmark = pytest.mark.e2e
WINDOWS = 3000
QUOTA, BATCH = 100, 8
"""Windows a second that one agent may have answered, and windows of a message at most."""


def test_agent_over_its_rate_honours_the_delay(
    run, write_test_bundle, key_folder: Path, tmp_path: Path
) -> None:
    """The fog is asked far less often than there are windows, and every window has its result."""
    bundle = write_test_bundle(tmp_path, "chain")
    windows = np.random.default_rng(5).standard_normal((WINDOWS, 16, 2)).astype(np.float32)
    np.savez(tmp_path / "windows.npz", x=windows)
    (tmp_path / "fog.toml").write_text(f"[quota]\nwindows_per_s = {QUOTA}\n")
    flags = ["--bundles", tmp_path, "--trust", key_folder / "trust", "--listen", "127.0.0.1:0"]
    flags += ["--metrics", "127.0.0.1:0", "--config", tmp_path / "fog.toml"]
    with running(["fog-server", *flags], tmp_path / "fog.log") as fog:
        page = fog.wait_for(r"metrics on (http://\S+)")
        agent = ["edge-agent", "run", "--bundle", bundle, "--trust", key_folder / "trust"]
        agent += ["--fog", fog.wait_for(r"serving on (\S+)$"), "--point", "1"]
        agent += ["--source", f"npz:{tmp_path / 'windows.npz'}", "--state", tmp_path]
        agent += ["--batch", str(BATCH)]
        process = run(*agent, "--sink", f"jsonl:{tmp_path / 'results.jsonl'}")
        with urlopen(page, timeout=10) as response:
            metrics = response.read().decode()
    assert process.returncode == 0, process.stderr
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sorted(r["sequence"] for r in results) == list(range(WINDOWS))
    where = Counter(r["where"] for r in results)
    refused = int(float(re.search(r'refused_windows_total\{reason="rate"\} (\S+)', metrics)[1]))
    assert 0 < refused < where["edge"] / 2, where
    # A message is answered or refused whole, so that less than one may be left of the quota.
    assert where["fog"] > QUOTA - BATCH
