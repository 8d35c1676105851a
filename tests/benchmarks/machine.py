"""What the figures were taken on: processor, memory, system, versions, date."""

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path

OURS = ("headtail", "grpcio", "onnxruntime", "numpy", "protobuf")
THEIRS = {
    "triton": ("nvidia-pytriton", "onnxruntime", "numpy"),
    "mlserver": ("mlserver", "grpcio", "onnxruntime", "numpy"),
    "kserve": ("kserve", "grpcio", "onnxruntime", "numpy"),
}


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory, system and load."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": int(memory[1]) << 10 if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def own_versions() -> dict[str, str]:
    """Return the versions of what our programs and the clients are made of."""
    return {name: importlib.metadata.version(name) for name in OURS}


def peer_versions(peer: str, python: Path) -> dict[str, str]:
    """Return the versions in a peer's environment."""
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    names = THEIRS[peer]
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.split(), strict=True))


def today() -> str:
    """Return the date and time, UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
