"""What an operator's and an application's `tritonclient` does beyond plain inference.

Runs in an environment of its own, as `triton_call.py`. Prints one JSON object.
Usage: triton_operate.py HOST:PORT INPUTS.npz
"""

import asyncio
import json
import queue
import sys
from collections.abc import Callable

from proto_fields import fields_of
from triton_call import read_inputs
from tritonclient import grpc as triton
from tritonclient.grpc import aio, model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

BUNDLE, MODEL = "chain", "chain-tail2-float32"
TIMEOUT_S = 20


def refusal(call: Callable[[], object]) -> str:
    """Return the status and text that a call ends with; empty where it is answered."""
    try:
        call()
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    return ""


def described(client) -> dict:
    """Return what the client is told of the server and its models."""
    return {
        "extensions": list(client.get_server_metadata().extensions),
        "config": client.get_model_config(MODEL, "1.10.0", as_json=True)["config"],
        "fixed": client.get_model_config("fixed", as_json=True)["config"],
        "statistics": client.get_inference_statistics(MODEL, as_json=True)["model_stats"],
        "index": client.get_model_repository_index(as_json=True)["models"],
        "unknown": refusal(lambda: client.get_model_config("nobody")),
        "foreign": [
            refusal(call)
            for call in (
                client.get_trace_settings,
                client.get_log_settings,
                client.get_system_shared_memory_status,
                client.get_cuda_shared_memory_status,
            )
        ],
    }


def inferred(client, inputs: list) -> dict:
    """Return what comes of the ways to ask for an inference."""
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def keep(result, error) -> None:
        answers.put((result, error))

    client.async_infer(MODEL, inputs, keep, model_version="1.9.0", request_id="a1")
    result, error = answers.get(timeout=TIMEOUT_S)
    urgent = client.infer(
        MODEL, inputs, priority=1, timeout=10_000_000, parameters={"deadline_ms": 10_000}
    )
    return {
        "async": result.as_numpy("y").tolist(),
        "async_error": str(error),
        "async_version": result.get_response().model_version,
        "urgent": urgent.as_numpy("y").tolist(),
        "worthless": refusal(lambda: client.infer(MODEL, inputs, parameters={"deadline_ms": 0})),
        "classes": refusal(
            lambda: client.infer(MODEL, inputs, outputs=[triton.InferRequestedOutput("y", 2)])
        ),
        "output": refusal(
            lambda: client.infer(MODEL, inputs, outputs=[triton.InferRequestedOutput("z")])
        ),
    }


def streamed(client, inputs: list) -> dict:
    """Return what comes back on one stream: an answer, an error, an answer that says it is last."""
    answers: queue.SimpleQueue = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    took = []
    for name, model, wants_final in (
        ("s1", MODEL, False),
        ("s2", "nobody", True),
        ("s3", MODEL, True),
    ):
        client.async_stream_infer(
            model, inputs, request_id=name, enable_empty_final_response=wants_final
        )
        result, error = answers.get(timeout=TIMEOUT_S)
        if error is not None:
            took.append([name, str(error)])
            continue
        response = result.get_response()
        final = response.parameters.get("triton_final_response")
        took.append([response.id, None if final is None else final.bool_param])
    client.stop_stream()
    return {"stream": took}


def operated(client, inputs: list) -> dict:
    """Return what loading and unloading does."""
    before = client.is_model_ready(MODEL)
    client.unload_model(BUNDLE)
    between = client.is_model_ready(MODEL)
    lost = refusal(lambda: client.infer(MODEL, inputs))
    client.load_model(BUNDLE)
    return {
        "ready": [before, between, client.is_model_ready(MODEL)],
        "lost": lost,
        "tail": refusal(lambda: client.load_model(MODEL)),
        "override": refusal(lambda: client.load_model(BUNDLE, config='{"max_batch_size": 1}')),
        "after": client.get_inference_statistics(MODEL, as_json=True)["model_stats"],
    }


async def asynchronous(address: str, inputs: list) -> dict:
    """Return what the client for asyncio gets, by both calls."""
    async with aio.InferenceServerClient(address) as client:
        answer = await client.infer(MODEL, inputs)

        async def requests():
            yield {"model_name": MODEL, "inputs": inputs, "request_id": "t"}

        found = [
            str(error or result.get_response().id)
            async for result, error in client.stream_infer(requests())
        ]
        return {"asyncio": answer.as_numpy("y").tolist(), "asyncio_stream": found}


def main(address: str, file: str) -> None:
    """Call the server in every way, and print what came."""
    client, inputs = triton.InferenceServerClient(address), read_inputs(file)
    report = {"fields": fields_of(service_pb2, model_config_pb2)}
    report |= inferred(client, inputs) | streamed(client, inputs)
    report |= asyncio.run(asynchronous(address, inputs))
    report |= described(client) | operated(client, inputs)
    client.close()
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
