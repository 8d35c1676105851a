"""A plain client of Triton against the fog; runs in an environment of its own.

`tritonclient` pins an older protobuf, and its messages would clash with ours in one process.
Prints one JSON object. Usage: triton_call.py HOST:PORT INPUTS.npz
"""

import json
import queue
import sys

import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

MODEL = "chain-tail2-float32"


def read_inputs(file: str) -> list[triton.InferInput]:
    """Return the arrays of an .npz as inputs of a request."""
    inputs = []
    with np.load(file) as arrays:
        for name, array in arrays.items():
            inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
    return inputs


def main(address: str, file: str) -> None:
    """Call everything that the server answers, and print what came."""
    client, inputs = triton.InferenceServerClient(address), read_inputs(file)
    answer = client.infer(MODEL, inputs, request_id="t1")
    wanted = client.infer(MODEL, inputs, outputs=[triton.InferRequestedOutput("y")])
    try:
        client.infer("nobody", inputs)
        refusal = ""
    except InferenceServerException as error:
        refusal = f"{error.status()}: {error.message()}"
    answers: queue.SimpleQueue = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer(MODEL, inputs, request_id="s1")
    streamed, stream_error = answers.get(timeout=20)
    client.async_stream_infer("nobody", inputs, request_id="s2")
    _, refused = answers.get(timeout=20)
    client.stop_stream()
    sys.stdout.write(
        json.dumps(
            {
                "is_live": client.is_server_live(),
                "is_ready": client.is_server_ready(),
                "is_model_ready": client.is_model_ready(MODEL),
                "server": client.get_server_metadata().name,
                "inputs": [t.name for t in client.get_model_metadata(MODEL).inputs],
                "id": answer.get_response().id,
                "unary": answer.as_numpy("y").tolist(),
                "wanted": wanted.as_numpy("y").tolist(),
                "refusal": refusal,
                "streamed": streamed.as_numpy("y").tolist() if not stream_error else None,
                "stream_refusal": str(refused),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
