"""What the client makes of a service that is not as ours: one line each, no traceback."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import pytest

from headtail.errors import RemoteFailed
from headtail.v1 import jobs_pb2 as pb
from optimizer.serve.client import JobsClient


def other_job(request: pb.GetJobRequest, context: grpc.ServicerContext) -> pb.Job:
    """Return a job in a state of a later version."""
    return pb.Job(id=request.id, state=99)


def no_file(
    request: pb.FetchJobFileRequest, context: grpc.ServicerContext
) -> Iterator[pb.FetchJobFileResponse]:
    """Send nothing."""
    return iter(())


OTHER_SERVICE = {
    "GetJob": grpc.unary_unary_rpc_method_handler(
        other_job, pb.GetJobRequest.FromString, pb.Job.SerializeToString
    ),
    "FetchJobFile": grpc.unary_stream_rpc_method_handler(
        no_file, pb.FetchJobFileRequest.FromString, pb.FetchJobFileResponse.SerializeToString
    ),
}


@pytest.fixture
def client() -> Iterator[JobsClient]:
    """Return a client of the other service."""
    server = grpc.server(ThreadPoolExecutor(1))
    name = pb.DESCRIPTOR.services_by_name["Jobs"].full_name
    handler = grpc.method_handlers_generic_handler(name, OTHER_SERVICE)
    server.add_generic_rpc_handlers((handler,))
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
