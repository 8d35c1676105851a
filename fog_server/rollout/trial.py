"""Trying a bundle in a process of its own, so that one that crashes or hangs takes nothing along.

`python -m fog_server.rollout.trial FILE` reads, loads and self-tests the bundle and writes one JSON
line. onnxruntime runs native code on graphs that somebody else made: it may end the process, take
all memory, or never return.
"""

import logging
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import BundleError, BundleUnreadable, HeadtailError

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
TRIAL_S = 120.0
"""Longest trial."""
MEMORY_BYTES = 16 << 30
"""Address space of a trial; onnxruntime reserves far more than it uses."""
MAX_SAID = 4096


class Asked(msgspec.Struct, frozen=True):
    """What a trial is told on its standard input."""

    path: str
    keys: dict[str, bytes]
    where: str
    providers: tuple[str, ...]
    threads: int
    limit_s: float
    """Of processor time: who asked may be gone, and then nobody ends this process."""


class Said(msgspec.Struct, frozen=True):
    """What a trial found; `fault` is empty where the bundle is good."""

    fault: str = ""
    name: str = ""
    version: str = ""
    digest: str = ""
    self_test_error: float = 0.0


def try_bundle(
    path: Path, trust: Trust, providers: tuple[str, ...], threads: int, limit_s: float = TRIAL_S
) -> Said:
    """Check, load and self-test a bundle in another process.

    Raises:
        BundleError: If it is not fit to be run, whatever it did to that process.
    """
    asked = Asked(str(path), dict(trust.keys), trust.where, providers, threads, limit_s)
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "fog_server.rollout.trial"],
                input=msgspec.json.encode(asked),
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BundleUnreadable(
                "as received", f"no end of its self-test in {limit_s:g} s"
            ) from error
        output.seek(0)
        text = output.read(MAX_SAID)
    if done.returncode:
        raise BundleUnreadable("as received", f"its self-test {_ended(done.returncode)}")
    said = msgspec.json.decode(text, type=Said)
    if said.fault:
        raise BundleError(said.fault)
    return said


def main() -> int:
    """Try the bundle that standard input names."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: round(asked.limit_s)}
    if asked.providers == (CPU,):  # a GPU's driver maps more than any machine has
        limits[resource.RLIMIT_AS] = MEMORY_BYTES
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    sys.stdout.buffer.write(msgspec.json.encode(_try(asked)))
    return 0


def _try(asked: Asked) -> Said:
    from headtail.segment import Chain, SessionOptions  # onnxruntime, under the limits

    try:
        bundle = read_bundle(Path(asked.path), Trust(asked.keys, asked.where))
        chain = Chain(bundle, SessionOptions(asked.providers, asked.threads))
        error = chain.self_test(bundle)
        for array in bundle.samples.inputs.values():
            if bundle.manifest.is_batchable and len(array) > 1:
                # Windows mostly come one by one, and other batches take other kernels.
                chain.tail({n: a[:1] for n, a in bundle.samples.inputs.items()}, 0)
                break
    except HeadtailError as fault:
        return Said(fault=str(fault).replace(asked.path, "as received"))
    except Exception as fault:  # noqa: BLE001 - whatever onnxruntime raises is the bundle's fault
        text = " ".join(str(fault).split())[:300]
        return Said(fault=f"bundle as received: its self-test failed: {text}")
    manifest = bundle.manifest
    return Said("", manifest.name, manifest.version, bundle.digest, error)


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


if __name__ == "__main__":
    sys.exit(main())
