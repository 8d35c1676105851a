"""What the agent costs: the modules it imports and the memory it holds, as a real process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MAX_RESIDENT_BYTES = 100_000_000
FOREIGN = {
    "IPython", "PIL", "keras", "matplotlib", "onnx", "opentelemetry", "pandas", "prometheus_client",
    "pygad", "ray", "requests", "rich", "scipy", "tensorflow", "tf2onnx", "wfdb",
}  # fmt: skip
# Runs the command and reports, at the end, what was imported and the most that was resident.
PROBE = """
import sys
from edge_agent.cli import main
status = main(sys.argv[1:])
resident = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("modules", *sorted({name.partition(".")[0] for name in sys.modules}))
print("updates", *(name for name in sys.modules if name.startswith("edge_agent.update")))
print("resident", resident)
sys.exit(status)
"""


@pytest.fixture
def probe(run_agent, start_fog, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that runs the agent against a real fog and returns its report."""
    settings = run_agent.settings
    arguments = ["run", "--bundle", settings["bundle"], "--trust", settings["trust"]]
    arguments += ["--source", settings["source"], "--sink", f"jsonl:{run_agent.sink}"]
    arguments += ["--existing", "overwrite", "--fog", start_fog().address, "--connect-s", "30"]
    arguments += ["--state", str(tmp_path_factory.mktemp("state"))]
    # Bytecode is cached as it is where programs are installed; compiling costs 15 MB.
    cache = {"PYTHONPYCACHEPREFIX": str(Path(tmp_path_factory.getbasetemp()) / "pycache")}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | cache

    def run(*more: str) -> dict[str, str]:
        command = [sys.executable, "-c", PROBE, *arguments, *more]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert 0 == ended.returncode, ended.stderr
        assert "ready: bundle chain 1.0.0" in ended.stderr
        return dict(re.findall(r"^(modules|updates|resident) ?(.*)$", ended.stdout, re.MULTILINE))

    return run


def test_nothing_heavy_is_imported(probe):
    """Nor is anything imported that the flags did not ask for."""
    report = probe()
    assert set() == FOREIGN & set(report["modules"].split())
    assert "" == report["updates"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("more", [(), ("--metrics", "127.0.0.1:0"), ("--updates", "on")])
def test_resident_memory_is_under_100_mb(probe, more):
    """The first run fills the bytecode cache, the second is measured."""
    probe(*more)
    assert 1024 * int(probe(*more)["resident"]) < MAX_RESIDENT_BYTES
