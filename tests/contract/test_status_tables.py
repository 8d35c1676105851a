"""The fog turns errors into gRPC statuses and the edge turns them back."""

from edge_agent.fog_errors import ERROR_BY_STATUS
from fog_server.status import STATUS_BY_ERROR


def test_both_tables_are_inverse() -> None:
    """What the fog says with a status is what the edge hears, for every status it uses."""
    for error, status in STATUS_BY_ERROR.items():
        heard = ERROR_BY_STATUS[status]
        assert STATUS_BY_ERROR[heard] is status, f"{error.__name__} -> {status} -> {heard.__name__}"
    assert set(STATUS_BY_ERROR.values()) <= set(ERROR_BY_STATUS)
