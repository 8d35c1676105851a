"""What is logged because of one window's request carries its id, the same as in the fog's log."""

import logging

import numpy as np

from headtail.oip import RAW_OUTPUT_FIELD, InferWriter, write_stream_error
from headtail.tensor import TensorSpec


def of(lines: list[dict[str, str]], text: str) -> dict[str, str]:
    """Return the one line that begins with a text."""
    (line,) = [line for line in lines if line["message"].startswith(text)]
    return line


def test_an_answer_that_is_no_output(run_agent, scripted_fog, lines, caplog):
    """The agent's own line about it names the request; lines about the fog do not."""
    caplog.set_level(logging.INFO)
    other = InferWriter("tail", "1", [TensorSpec("z", "float32", (-1,))], RAW_OUTPUT_FIELD)
    answer = np.zeros(1, "f4")
    scripted_fog.script = lambda r: other.write_stream_response(r.id, {}, [answer])
    run_agent(fog=scripted_fog.address, batch=4, in_flight=1, agent="bed-7")
    asked = scripted_fog.requests[0].id
    assert "bed-7/0" == asked == of(lines, "fog failing")["request_id"]
    assert "request_id" not in of(lines, "done")


def test_an_error_about_one_window(run_agent, scripted_fog, lines):
    """Also what the link says of the fog because of it."""
    scripted_fog.script = lambda r: write_stream_error(r.id, "odd", {"status": "INTERNAL"})
    run_agent(fog=scripted_fog.address, batch=1, in_flight=1, agent="bed-7", max_misses=2)
    assert "bed-7/0" == of(lines, "fog failing")["request_id"]
    assert of(lines, "fog lost")["request_id"] in {r.id for r in scripted_fog.requests}
