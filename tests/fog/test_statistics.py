"""What models have done, as Triton counts it."""

import grpc
import numpy as np
import pytest

from fog_server.statistics import Statistics
from fog_server.store import load_store
from headtail.inference import grpc_service_pb2 as oip
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from headtail.segment import SessionOptions


@pytest.fixture
def tail(write_test_bundle, tmp_path, trust):
    """Return a served tail."""
    write_test_bundle(tmp_path, "chain")
    return load_store(tmp_path, trust, SessionOptions()).tail("chain-tail1-int8")


def test_a_batch_of_two_requests_is_one_execution_and_two_requests(tail):
    """Of each request the whole batch's time counts, as Triton has it."""
    statistics = Statistics(clock=lambda: 1234.5678)
    record, now_ms = statistics.record(tail), statistics.now_ms()
    record.ran(5, 700, 1)
    record.answered(2, now_ms, 100, 10, 700, 1)
    record.answered(3, now_ms, 50, 20, 700, 1)
    record.ran(1, 300)
    record.answered(1, now_ms, 0, 5, 300, 0)
    statistics.failed(tail, 40)
    record = statistics.of(tail)
    assert (6, 2, 1234567) == (record.windows, record.executions, record.last_ms)
    assert (3, 811 + 771 + 305) == (record.requests.count, record.requests.total_ns)
    assert (1, 40) == (record.failed, record.failed_ns)
    assert (150, 1700) == (record.requests.queue_ns, record.requests.infer_ns)
    assert {1: 300, 5: 700} == {size: batch.infer_ns for size, batch in record.batches.items()}


def test_what_was_read_changes_no_more(tail):
    statistics = Statistics()
    record = statistics.of(tail)
    statistics.record(tail).answered(1, 0)
    assert (0, 1) == (record.windows, statistics.of(tail).windows)


def test_model_that_was_loaded_anew_starts_anew(tail, write_test_bundle, tmp_path, trust):
    statistics = Statistics()
    statistics.record(tail).answered(1, 0)
    again = load_store(tmp_path, trust, SessionOptions()).tail("chain-tail1-int8")
    assert 0 == statistics.of(again).windows


@pytest.fixture
def stub(start_fog, connect):
    """Return a server of its own's client of the test and the generated one."""
    client = connect(start_fog())
    return client, GRPCInferenceServiceStub(client.channel)


def test_requests_are_counted_where_they_ran(stub, windows):
    """Five windows and one, one refused; the version is that of the answer."""
    client, generated = stub
    client.infer("chain", {"x": windows})
    client.infer("chain", {"x": windows[:1]})
    with pytest.raises(grpc.RpcError):
        client.infer("chain", {"x": windows.astype(np.float64)})
    request = oip.ModelStatisticsRequest(name="chain", version="1.10.0")
    (model,) = generated.ModelStatistics(request).model_stats
    assert ("chain", "1.10.0", 6, 2) == (
        model.name, model.version, model.inference_count, model.execution_count
    )  # fmt: skip
    stats = model.inference_stats
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert (2, 1) == (stats.success.count, stats.fail.count)
    assert {2} == {part.count for part in parts}
    assert stats.success.ns == sum(part.ns for part in parts)
    assert stats.compute_infer.ns > 0
    assert [1, 5] == [batch.batch_size for batch in model.batch_stats]
    assert stats.compute_infer.ns == sum(b.compute_infer.ns for b in model.batch_stats)
    assert model.last_inference > 1_600_000_000_000


def test_no_name_means_every_model_and_warming_up_does_not_count(stub):
    _, generated = stub
    found = generated.ModelStatistics(oip.ModelStatisticsRequest()).model_stats
    served = generated.RepositoryIndex(oip.RepositoryIndexRequest()).models
    assert {(m.name, m.version) for m in served} == {(m.name, m.version) for m in found}
    assert {0} == {m.inference_count for m in found}


def test_unknown_model_has_no_statistics(stub):
    _, generated = stub
    with pytest.raises(grpc.RpcError) as error:
        generated.ModelStatistics(oip.ModelStatisticsRequest(name="nobody"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
