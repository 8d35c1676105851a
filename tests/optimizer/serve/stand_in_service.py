"""The job service as a process, with the small program in the place of `optimizer run`."""

import sys

from serve_case import GIB, command

from headtail import log
from headtail.server.signals import Signals
from optimizer.serve.config import Capacity, Config, Limits
from optimizer.serve.server import JobService


def main(state: str, listen: str) -> None:
    """Serve until SIGTERM."""
    log.configure("info")
    signals = Signals()
    with signals.handled():
        config = Config(
            state=state,
            listen=listen,
            capacity=Capacity(cpus=1, memory_bytes=GIB),
            limits=Limits(crashes=1000, free_bytes=0),
        )
        service = JobService(config, command=command)
        signals.wait()
        service.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
