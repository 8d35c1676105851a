"""Which thread of a program reads and writes gRPC's sockets: the one that waits for the result.

By itself gRPC 1.85 leaves that to threads of an engine, which hand everything on: on each side one
change of threads more for every message. Without the engine a thread that waits on a completion
queue polls the sockets itself, as it did in all releases before. An echo of 16 KB over a stream on
the loopback took 100 to 145 us so, and 180 to 270 us with the engine (medians of three runs, each
side on a core, both ways in turn).
"""

import os

VARIABLE = "GRPC_EXPERIMENTS"
"""Read by gRPC when it is imported. Names that a release does not know only make it log a line."""
WITHOUT_ENGINE = "-event_engine_client,-event_engine_listener"


def poll_in_place() -> None:
    """Leave gRPC's engine out, unless the environment says how; call it before gRPC is imported."""
    os.environ.setdefault(VARIABLE, WITHOUT_ENGINE)
