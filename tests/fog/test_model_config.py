"""What ModelConfig says of tails is what the fog does with them."""

import pytest

from fog_server.batcher_policy import DynamicBatching, QueuePolicy
from fog_server.config import Inference
from fog_server.model_config import tail_config
from fog_server.store import load_store
from headtail.inference import model_config_pb2 as pb
from headtail.segment import SessionOptions

CPU = "CPUExecutionProvider"
RULES = DynamicBatching(
    max_batch_size=8,
    preferred_batch_size=(4,),
    max_queue_delay_microseconds=250,
    priority_levels=2,
    default_priority_level=2,
    default_queue_policy=QueuePolicy(max_queue_size=5, allow_timeout_override=True),
    priority_queue_policy={"1": QueuePolicy("DELAY", 1000)},
)


@pytest.fixture(scope="module")
def store(write_test_bundle, tmp_path_factory, trust):
    """Return a store with both test models."""
    folder = tmp_path_factory.mktemp("bundles")
    write_test_bundle(folder, "chain")
    write_test_bundle(folder, "fixed")
    return load_store(folder, trust, SessionOptions())


def test_batching_of_the_model_is_told_in_tritons_words(store):
    """That of the bundle, since the model has none of its own."""
    settings = Inference(max_batch=32, max_running=3, models={"chain": RULES})
    config = tail_config(store.tail("chain-tail1-int8"), settings, CPU)
    policy = pb.ModelQueuePolicy
    assert config.dynamic_batching == pb.ModelDynamicBatching(
        preferred_batch_size=[4],
        max_queue_delay_microseconds=250,
        priority_levels=2,
        default_priority_level=2,
        default_queue_policy=policy(max_queue_size=5, allow_timeout_override=True),
        priority_queue_policy={
            1: policy(timeout_action=policy.DELAY, default_timeout_microseconds=1000)
        },
    )
    assert (32, 3) == (config.max_batch_size, config.instance_group[0].count)
    assert [1, 4, 8, 16] == [w.batch_size for w in config.model_warmup]
    assert "8" == config.parameters["largest_dynamic_batch"].string_value


def test_model_without_a_batch_axis_is_not_batched(store):
    config = tail_config(store.tail("fixed"), Inference(), CPU)
    assert not config.HasField("dynamic_batching")
    assert 0 == config.max_batch_size
    assert [1] == [w.batch_size for w in config.model_warmup]


@pytest.mark.parametrize(
    ("provider", "kind"), [(CPU, "KIND_CPU"), ("CUDAExecutionProvider", "KIND_GPU")]
)
def test_kind_is_that_of_the_provider(store, provider, kind):
    (group,) = tail_config(store.tail("chain"), Inference(), provider).instance_group
    assert kind == pb.ModelInstanceGroup.Kind.Name(group.kind)
