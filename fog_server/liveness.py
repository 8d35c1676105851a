"""Whether the server still serves: a call to itself is answered."""

import shutil
import tempfile
from pathlib import Path

import grpc

from fog_server.activity import Activity
from headtail.inference.grpc_service_pb2 import ServerLiveRequest, ServerLiveResponse

TIMEOUT_S = 5.0
_NOT_SERVED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class SelfCall:
    """A `ServerLive` call of the server to itself, through gRPC's core and the control pool.

    It goes over a Unix socket in a folder that only this user may enter, so that it needs no
    certificate and opens nothing to others.
    """

    def __init__(
        self, server: grpc.Server, activity: Activity, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Make `server`, which is not started yet, listen on a socket of its own."""
        self._folder = Path(tempfile.mkdtemp(prefix="fog-server-"))
        self._activity = activity
        address = f"unix:{self._folder / 'live'}"
        server.add_insecure_port(address)
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address)
        self._call = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ServerLive",
            request_serializer=ServerLiveRequest.SerializeToString,
            response_deserializer=ServerLiveResponse.FromString,
        )

    def check(self) -> str | None:
        """Return what is wrong; a draining server takes no calls, and that is right."""
        wrong = None if self._activity.is_draining else self._try()
        return None if self._activity.is_draining else wrong

    def close(self) -> None:
        """Close the channel and take the socket away."""
        self._channel.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _try(self) -> str | None:
        try:
            answer = self._call(ServerLiveRequest(), timeout=self._timeout_s)
        except grpc.RpcError as error:
            # An answer with any other status came from the server all the same.
            status = error.code()
            return f"its own call ended with {status.name}" if status in _NOT_SERVED else None
        except ValueError:
            return "its own channel is closed"
        return None if answer.live else "its own call says that it is not live"
