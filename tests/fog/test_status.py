"""Domain errors and the gRPC statuses they travel as."""

import pytest
from grpc import StatusCode

from fog_server.metrics import Outcome, outcome_of
from fog_server.status import STATUS_BY_ERROR, status_of
from headtail.errors import (
    ConfigError,
    DeadlineExceeded,
    FogUnavailable,
    ModelNotFound,
    NotFinite,
    Overloaded,
    RemoteError,
    RemoteFailed,
    RequestInvalid,
    ShapeMismatch,
)

CASES = [
    (ModelNotFound("m", "", []), StatusCode.NOT_FOUND, Outcome.NOT_FOUND),
    (RequestInvalid("m", "odd"), StatusCode.INVALID_ARGUMENT, Outcome.INVALID),
    (ShapeMismatch("m", (1,), (2,)), StatusCode.INVALID_ARGUMENT, Outcome.INVALID),
    (NotFinite("m", 1, 2), StatusCode.INVALID_ARGUMENT, Outcome.INVALID),
    (Overloaded("m", "full", 0.1), StatusCode.RESOURCE_EXHAUSTED, Outcome.OVERLOADED),
    (DeadlineExceeded("m", 0.1), StatusCode.DEADLINE_EXCEEDED, Outcome.EXPIRED),
    (FogUnavailable("m", "gone"), StatusCode.UNAVAILABLE, Outcome.FAILED),
    (RemoteFailed("m", "bug"), StatusCode.INTERNAL, Outcome.FAILED),
    (ConfigError("m", "bug"), StatusCode.INTERNAL, Outcome.FAILED),
]


@pytest.mark.parametrize(("error", "status", "outcome"), CASES, ids=lambda v: type(v).__name__)
def test_error_has_its_status_and_outcome(error, status, outcome):
    """A tensor's fault is its sender's; what is not foreseen is internal."""
    assert status == status_of(error)
    assert outcome == outcome_of(error)


def test_every_remote_error_has_a_status_of_its_own():
    """So that the agent can tell them apart again."""
    assert set(RemoteError.__subclasses__()) == set(STATUS_BY_ERROR)
    assert len(set(STATUS_BY_ERROR.values())) == len(STATUS_BY_ERROR)
