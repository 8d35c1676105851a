"""The figures of one model as Triton's ModelStatistics message."""

from fog_server.statistics import Duration, Durations, ModelRecord
from fog_server.tail import Tail
from headtail.inference import grpc_service_pb2 as oip


def statistics_message(tail: Tail, record: ModelRecord) -> oip.ModelStatistics:
    """Return what a model has done."""
    requests = record.requests
    return oip.ModelStatistics(
        name=tail.name,
        version=tail.version,
        last_inference=record.last_ms,
        inference_count=record.windows,
        execution_count=record.executions,
        inference_stats=oip.InferStatistics(
            success=_duration(record.success),
            fail=_duration(record.fail),
            queue=_duration(requests.queue),
            compute_input=_duration(requests.input),
            compute_infer=_duration(requests.infer),
            compute_output=_duration(requests.output),
        ),
        batch_stats=[_batch(*batch) for batch in sorted(record.batches.items())],
    )


def _batch(windows: int, batch: Durations) -> oip.InferBatchStatistics:
    return oip.InferBatchStatistics(
        batch_size=windows,
        compute_input=_duration(batch.input),
        compute_infer=_duration(batch.infer),
        compute_output=_duration(batch.output),
    )


def _duration(duration: Duration) -> oip.StatisticDuration:
    return oip.StatisticDuration(count=duration.count, ns=duration.ns)
