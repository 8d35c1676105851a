"""Evaluations on a Ray cluster, or on a Ray of our own on this machine."""

import logging
import os
import pickle
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from headtail.config import parse_address
from headtail.errors import ConfigError, SearchError
from optimizer.executor.item import (
    SINGLE_THREAD,
    Failure,
    Item,
    Ledger,
    Result,
    Success,
    attempt,
    count_cores,
)

# What an item may run into without being at fault, and gets another worker for.
LOST = (WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)


class RayExecutor:
    """Tasks of a Ray cluster; what is evaluated lies in its object store once.

    A worker loads that when it first needs it and keeps it for its next items.
    """

    def __init__(self, workers: int = 0, recycle: int = 200, address: str = "") -> None:
        """Connect to the cluster, or start one here; `workers` 0 is one per core of it.

        Raises:
            ConfigError: If the cluster cannot be reached.
        """
        self._most = workers
        self._evaluate: Callable[[Any], Any] | None = None
        self._shared: tuple[str, Any] = ("", None)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read by ray.init
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        own: dict[str, Any] = {
            "num_cpus": workers or count_cores(),
            "num_gpus": 0,
            "include_dashboard": False,
        }
        variables = dict(SINGLE_THREAD)
        if not address:  # elsewhere modules may lie elsewhere
            variables["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        if address:
            _check_reachable(address)
        try:
            ray.init(
                **({"address": address} if address else {"address": "local", **own}),
                logging_level=logging.WARNING,
                log_to_driver=False,
                runtime_env={"env_vars": variables},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                "[executor]", f"no Ray cluster at '{address or 'local'}': {_first_line(error)}"
            ) from error
        self._task = ray.remote(max_retries=0, max_calls=recycle, num_cpus=1)(_evaluate_item)

    def run(
        self, evaluate: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item, each once, as they come.

        An item whose worker or node is lost runs again in another one. One run at a time.

        Raises:
            HeadtailError: As `evaluate` raised it in a worker.
            SearchError: If an item costs three workers, or the cluster is lost.
            ItemFailed: If `evaluate` raised anything else.
        """
        if self._evaluate is not evaluate:
            self._shared = (uuid.uuid4().hex, ray.put(pickle.dumps(evaluate, protocol=5)))
            self._evaluate = evaluate
        token, data = self._shared
        ledger = Ledger(items)
        running: dict[Any, int] = {}
        try:
            while ledger.is_open:
                while ledger.waiting and len(running) < self._count():
                    index, item = ledger.take()
                    # In a list Ray leaves the reference as it is: a worker that has it asks not.
                    running[self._task.remote(token, [data], item)] = index
                done, _ = ray.wait(list(running), num_returns=1)
                index = running.pop(done[0])
                try:
                    outcome: Success[Any] | Failure = ray.get(done[0])
                except LOST as error:
                    ledger.worker_died(index, f"by {type(error).__name__}")
                    continue
                if isinstance(outcome, Failure):
                    raise outcome.error()
                ledger.finish(index)
                yield index, outcome.result
        except RayError as error:
            raise SearchError("Ray cluster", _first_line(error)) from error
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        self._shared, self._evaluate = ("", None), None
        ray.shutdown()

    def _count(self) -> int:
        """Return how many items may run now: a cluster may grow and shrink."""
        resources: dict[str, float] = ray.cluster_resources()
        cores = max(1, int(resources.get("CPU", 1)))
        return min(self._most, cores) if self._most else cores


def _evaluate_item(token: str, data: list[Any], item: Any) -> Success[Any] | Failure:
    function = attempt(_load, (token, data[0]))
    if isinstance(function, Failure):
        return function
    return attempt(function.result, item)


_loaded: dict[str, Callable[[Any], Any]] = {}  # of this worker: the last one it was asked for


def _load(shared: tuple[str, Any]) -> Callable[[Any], Any]:
    token, reference = shared
    if token not in _loaded:
        _loaded.clear()
        _loaded[token] = pickle.loads(ray.get(reference))  # noqa: S301 - from our caller
    return _loaded[token]


def _check_reachable(address: str) -> None:
    """Ask before Ray does, which tries for a minute and then ends the process.

    Raises:
        ConfigError: If nobody listens there.
    """
    try:
        socket.create_connection(parse_address(address, "[executor] address"), 10).close()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError("[executor]", f"no Ray cluster at '{address}': {reason}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
