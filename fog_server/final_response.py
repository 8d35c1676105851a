"""Triton's mark of the last answer to a request of a stream, for clients that ask for it.

Models of ours answer once, so every answer is the last.
"""

from headtail.oip import InferRequest, Parameter

ASKED, FINAL = "triton_enable_empty_final_response", "triton_final_response"


def final_response(request: InferRequest) -> dict[str, Parameter]:
    """Return what the answer to a request says of being the last one."""
    return {FINAL: True} if request.parameters.get(ASKED) is True else {}
