"""grpc.health.v1 with a name for liveness beside those of readiness."""

import grpc
from grpc_health.v1 import health, health_pb2

from headtail.liveness import Check

LIVENESS = "liveness"
"""Name under which grpc.health.v1 tells liveness; every other name tells readiness."""


class Health(health.HealthServicer):
    """grpc.health.v1: readiness as set, and liveness as it is found on each call."""

    def __init__(self, check: Check) -> None:
        """Ask `check` for liveness."""
        super().__init__()
        self._check = check

    def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Answer for one service."""
        if request.service == LIVENESS:
            status = "SERVING" if self._check() is None else "NOT_SERVING"
            return health_pb2.HealthCheckResponse(status=status)
        return super().Check(request, context)
