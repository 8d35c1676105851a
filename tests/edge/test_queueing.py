"""Windows that queue travel together, one that comes alone does not wait; answers in any order."""

import json
import os
from collections.abc import Iterator

import numpy as np
import pytest


def sizes(scripted_fog) -> list[int]:
    """Return how many windows each message held that the fog received."""
    return [request.inputs[0].shape[0] for request in scripted_fog.requests]


def test_results_are_in_order_whatever_the_order_of_the_answers(run_agent, scripted_fog, expected):
    """The fog holds four messages back and answers the last one first."""
    held = []

    def script(request):
        held.append(scripted_fog.answer(request))
        if len(held) < 4:
            return None
        answers = held[::-1]
        held.clear()
        return answers

    scripted_fog.script = script
    lines = run_agent(fog=scripted_fog.address, batch=1, in_flight=4)
    assert [1] * 20 == sizes(scripted_fog)
    assert list(range(20)) == [line["sequence"] for line in lines]
    assert {"fog"} == {line["where"] for line in lines}
    np.testing.assert_allclose([line["output"] for line in lines], expected, rtol=1e-5)


@pytest.fixture
def pipe(monkeypatch) -> Iterator[int]:
    """Return where to write what the agent takes for its standard input."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as file:
        monkeypatch.setattr("sys.stdin", file)
        yield write


def test_a_window_that_comes_alone_goes_alone_and_those_that_queue_go_together(
    run_agent, scripted_fog, pipe
):
    """Before the fog answers the first window four more come, and six while it has those."""
    line = json.dumps(np.zeros((16, 2)).tolist()).encode() + b"\n"
    os.write(pipe, line)

    def script(request):
        asked = len(scripted_fog.requests)
        if asked == 1:
            os.write(pipe, 4 * line)
        elif asked == 2:
            os.write(pipe, 6 * line)  # less than a pipe takes at once: whoever reads, reads all
            os.close(pipe)
        return scripted_fog.answer(request)

    scripted_fog.script = script
    lines = run_agent(fog=scripted_fog.address, source="stdin", batch=4, in_flight=1)
    assert [1, 4, 4, 2] == sizes(scripted_fog)
    assert list(range(11)) == [line["sequence"] for line in lines]
    assert {"fog"} == {line["where"] for line in lines}
