"""A real Prometheus that has scraped agents whose every figure is known; for several tests."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headtail.metrics import LATENCY_BUCKETS_S, MetricsPage
from headtail.operations import Operations
from optimizer.field.lesson import LAG_S
from optimizer.field.prometheus import Prometheus
from programs import running

GIVE_UP_S = 60.0
POINT = ("model", "partition_point", "encoding")
CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: edge, static_configs: [{{targets: ["{page}"]}}]}}]
"""
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="the Debian package prometheus is not installed"
)


@dataclass(frozen=True)
class Ran:
    """Windows of one point, all alike."""

    model: str
    point: int
    head: Operations
    tail: Operations
    windows: int = 200
    fallbacks: int = 0
    message_bytes: int = 328
    payload_bytes: int = 128
    head_s: float = 2e-6
    network_s: float = 0.05
    queue_s: float = 2e-4
    tail_s: float = 1e-3


def free_address() -> str:
    """Return an address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def recorded(folder: Path, trip_s: float, *rans: Ran) -> Iterator[str]:
    """Return the address of a Prometheus that has recorded windows, and ten round trips."""
    registry = CollectorRegistry()
    page = MetricsPage("127.0.0.1:0", registry)
    (folder / "prometheus.yml").write_text(CONFIG.format(page=page.address))
    address = free_address()
    command = (
        shutil.which("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}",
    )  # fmt: skip
    pages = _Pages(registry, rans)
    try:
        with running(command, folder / "prometheus.log") as program:
            program.wait_for("(Server is ready)")
            _wait(address, "count(edge_round_trip_seconds_count) > 0")
            pages.work(trip_s)
            # Counters that rose are seen to do so by two scrapes after.
            _wait(address, "sum(increase(edge_round_trip_seconds_count[1m])) >= 10")
            yield f"http://{address}"
    finally:
        page.close()


class _Pages:
    """What agents export, under their names."""

    def __init__(self, registry: CollectorRegistry, rans: tuple[Ran, ...]) -> None:
        self._rans = rans
        labels, buckets = ("part", *POINT), LATENCY_BUCKETS_S
        self._latency = Histogram(
            "edge_latency_seconds", "-", labels, buckets=buckets, registry=registry
        )
        self._bytes = Counter("edge_tx_bytes", "-", POINT, registry=registry)
        self._windows = Counter("edge_windows", "-", ("where", *POINT), registry=registry)
        self._fallback = Counter("edge_fallback", "-", ["reason"], registry=registry)
        fine = [1e-4 * 10 ** (i / 10) for i in range(50)]
        self._trips = Histogram("edge_round_trip_seconds", "-", buckets=fine, registry=registry)
        self._fallback.labels("deadline")
        gauges = {
            part: Gauge(f"edge_{part}_operations", "-", ("kind", *POINT), registry=registry)
            for part in ("head", "tail")
        }
        payload = Gauge("edge_payload_bytes", "-", POINT, registry=registry)
        for ran in rans:
            of = self._of(ran)
            payload.labels(*of).set(ran.payload_bytes)
            for part, gauge in gauges.items():
                for kind in Operations.__struct_fields__:
                    gauge.labels(kind, *of).set(getattr(getattr(ran, part), kind))
            for part in ("head", "network", "queue", "tail", "total"):
                self._latency.labels(part, *of)
            for place in ("fog", "edge"):
                self._windows.labels(place, *of)
            self._bytes.labels(*of)

    def work(self, trip_s: float) -> None:
        """Let every window happen."""
        for ran in self._rans:
            of, answered = self._of(ran), ran.windows - ran.fallbacks
            parts = {"head": ran.head_s, "network": ran.network_s, "queue": ran.queue_s}
            parts |= {"tail": ran.tail_s, "total": sum(parts.values()) + ran.tail_s}
            for part, seconds in parts.items():
                for _ in range(answered if part in ("network", "queue") else ran.windows):
                    self._latency.labels(part, *of).observe(seconds)
            self._windows.labels("fog", *of).inc(answered)
            self._windows.labels("edge", *of).inc(ran.fallbacks)
            self._bytes.labels(*of).inc(ran.windows * ran.message_bytes)
            self._fallback.labels("deadline").inc(ran.fallbacks)
        for _ in range(10):
            self._trips.observe(trip_s)

    def _of(self, ran: Ran) -> tuple[str, str, str]:
        return ran.model, str(ran.point), "float32"


def _wait(address: str, condition: str) -> None:
    give_up_s = time.monotonic() + GIVE_UP_S
    # As late as `learn` asks; it may do so at once then.
    while not Prometheus(f"http://{address}", time.time() - LAG_S).query(condition):
        assert time.monotonic() < give_up_s, condition
        time.sleep(0.1)
