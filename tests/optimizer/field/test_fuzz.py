"""A Prometheus that answers anything at all: a lesson, or a fault in our words."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headtail.errors import DataError
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile
from optimizer.field.lesson import learn
from optimizer.field.prometheus import Prometheus
from optimizer.recipe.field import FieldConfig

DEVICES = tuple(map(read_device_profile, ("raspberry-pi-5", "stm32l4r5-int8", "stm32l476-paper")))
LINKS = tuple(map(read_link_profile, ("ethernet", "ble-paper", "ble-2m")))
LABELS = {
    "part": ("head", "network", "queue", "tail", "total", ""),
    "partition_point": ("0", "1", "2", "-1", "x", "99999999999"),
    "encoding": ("int8", "float32"),
    "where": ("fog", "edge"),
    "kind": Operations.__struct_fields__,
    "reason": ("unavailable", "deadline"),
}
NUMBERS = st.one_of(
    st.floats(1e-6, 1e4), st.floats(), st.sampled_from([0.0, -1.0, 1e300, 1e-300])
).map(repr)
SERIES = st.fixed_dictionaries(
    {
        "metric": st.fixed_dictionaries({k: st.sampled_from(v) for k, v in LABELS.items()}),
        "value": st.tuples(st.just(1.0), NUMBERS),
    }
)
ANSWERS = st.lists(SERIES, max_size=8).map(
    lambda result: {"status": "success", "data": {"result": result}}
)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Return a function that says what every query is answered."""

    def say(draw: Callable[[], Any]) -> None:
        monkeypatch.setattr(Prometheus, "_ask", lambda *_: msgspec.json.encode(draw()))

    return say


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=50,
    phases=[Phase.generate],  # shrinking so much takes minutes
)
@given(data=st.data())
def test_answers_of_any_kind_teach_or_are_refused(answer: Any, data: st.DataObject) -> None:
    """No figure makes a profile that cannot be written down, nor an error without words."""
    answer(lambda: data.draw(ANSWERS))
    config = FieldConfig(prometheus="http://127.0.0.1:9", min_windows=1)
    device, link = data.draw(st.sampled_from(DEVICES)), data.draw(st.sampled_from(LINKS))
    with suppress(DataError):
        lesson = learn(config, "ecg", device, link)
        again = msgspec.json.decode(msgspec.json.encode(lesson), type=type(lesson))
        assert lesson == again
        for point in lesson.seen.points:
            lesson.predicted_s(point)
