"""The figures of one model as Triton's ModelStatistics message."""

from fog_server.statistics import ModelRecord, Totals
from fog_server.tail import Tail
from headtail.inference import grpc_service_pb2 as oip


def statistics_message(tail: Tail, record: ModelRecord) -> oip.ModelStatistics:
    """Return what a model has done."""
    done = record.requests
    return oip.ModelStatistics(
        name=tail.name,
        version=tail.version,
        last_inference=record.last_ms,
        inference_count=record.windows,
        execution_count=record.executions,
        inference_stats=oip.InferStatistics(
            success=_duration(done.count, done.total_ns),
            fail=_duration(record.failed, record.failed_ns),
            queue=_duration(done.count, done.queue_ns),
            compute_input=_duration(done.count, done.input_ns),
            compute_infer=_duration(done.count, done.infer_ns),
            compute_output=_duration(done.count, done.output_ns),
        ),
        batch_stats=[_batch(*batch) for batch in sorted(record.batches.items())],
    )


def _batch(windows: int, batch: Totals) -> oip.InferBatchStatistics:
    return oip.InferBatchStatistics(
        batch_size=windows,
        compute_input=_duration(batch.count, batch.input_ns),
        compute_infer=_duration(batch.count, batch.infer_ns),
        compute_output=_duration(batch.count, batch.output_ns),
    )


def _duration(count: int, ns: int) -> oip.StatisticDuration:
    return oip.StatisticDuration(count=count, ns=ns)
