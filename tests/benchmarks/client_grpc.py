"""gRPC as our programs import it, for the clients alone: what is started later inherits nothing."""

import os

from headtail.grpc_polling import VARIABLE, poll_in_place

_is_given = VARIABLE in os.environ
poll_in_place()
import grpc  # noqa: E402 - reads the variable

if not _is_given:
    del os.environ[VARIABLE]

__all__ = ["grpc"]
