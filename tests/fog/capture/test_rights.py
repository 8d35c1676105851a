"""Who may send inputs: an agent that may infer, and for itself alone."""

import grpc
import pytest
from tls_site import EDGE, OPERATOR

from headtail.v1.capture_pb2 import CaptureWindowsRequest
from headtail.v1.capture_pb2_grpc import CaptureStub

Status = grpc.StatusCode


def status(site, identity, agent):
    """Return the status of a request without windows."""
    with (
        site.channel(site.certificate(identity)) as channel,
        pytest.raises(grpc.RpcError) as info,
    ):
        CaptureStub(channel).CaptureWindows(CaptureWindowsRequest(agent=agent), timeout=20)
    return info.value.code()


def test_an_agent_sends_for_itself_alone(listed):
    """This fog captures nothing; whoever may ask is told so, the others are told no more."""
    assert Status.FAILED_PRECONDITION is status(listed, EDGE, "")
    assert Status.FAILED_PRECONDITION is status(listed, EDGE, EDGE.name)
    assert Status.PERMISSION_DENIED is status(listed, EDGE, "another")
    assert Status.PERMISSION_DENIED is status(listed, OPERATOR, "")
