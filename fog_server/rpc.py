"""The fog's border to gRPC, and how errors travel on a stream."""

from fog_server.status import STATUS_BY_ERROR, status_of
from headtail.errors import HeadtailError, Overloaded
from headtail.oip import Parameter
from headtail.server.border import MAX_TEXT, RETRY_DELAY, Border, error_text, milliseconds

__all__ = [
    "BORDER",
    "MAX_TEXT",
    "RETRY_DELAY",
    "abort",
    "domain_error",
    "error_text",
    "guarded",
    "guarded_stream",
    "stream_parameters",
]

BORDER = Border("fog", STATUS_BY_ERROR)
guarded, guarded_stream = BORDER.guarded, BORDER.guarded_stream
domain_error, abort = BORDER.domain_error, BORDER.abort


def stream_parameters(error: HeadtailError) -> dict[str, Parameter]:
    """Return the parameters by which a stream's answer says what went wrong."""
    parameters: dict[str, Parameter] = {"status": status_of(error).name}
    if isinstance(error, Overloaded):
        parameters[RETRY_DELAY] = milliseconds(error)
    return parameters
