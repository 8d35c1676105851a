"""What the client makes of a service that is not as ours: one line each, no traceback."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import pytest

from headtail.errors import RemoteFailed
from headtail.v1 import jobs_pb2 as pb
from headtail.v1.jobs_pb2_grpc import JobsServicer, add_JobsServicer_to_server
from optimizer.serve.client import JobsClient


class OtherService(JobsServicer):
    """A service of a later version, which sends no files."""

    def GetJob(self, request, context) -> pb.Job:  # noqa: N802 - the service's name for it
        """Return a job in a new state."""
        return pb.Job(id=request.id, state=99)

    def FetchJobFile(self, request, context) -> Iterator[pb.FetchJobFileResponse]:  # noqa: N802 - the same
        """Send nothing."""
        return iter(())


@pytest.fixture
def client() -> Iterator[JobsClient]:
    """Return a client of the other service."""
    server = grpc.server(ThreadPoolExecutor(1))
    add_JobsServicer_to_server(OtherService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(JobsClient(f"127.0.0.1:{port}")) as made:
        yield made
    server.stop(None).wait()


def test_state_of_a_later_version_is_named(client) -> None:
    with pytest.raises(RemoteFailed, match=r"^job x-1: failed: state 99 is not known here$"):
        client.job("x-1")


def test_file_without_a_beginning_is_refused(client, tmp_path) -> None:
    with pytest.raises(RemoteFailed, match="sends no file: ''"):
        client.fetch("x-1", "bundle", tmp_path)
    assert [] == list(tmp_path.iterdir())
