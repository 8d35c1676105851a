"""The call by which agents send inputs of their own; see `capture.proto`."""

from collections.abc import Sequence

import grpc

from fog_server.activity import Activity
from fog_server.capture.capture import Capture
from fog_server.identity import caller_name
from fog_server.rpc import guarded
from fog_server.store import BundleStore, StoredBundle
from headtail.errors import HeadtailError, RequestInvalid, ShapeMismatch, WrongState
from headtail.tensor import Array, TensorSpec, check_finite, from_buffer
from headtail.v1 import capture_pb2 as pb
from headtail.v1 import capture_pb2_grpc

MAX_WINDOWS = 64


class CaptureServicer(capture_pb2_grpc.CaptureServicer):
    """headtail.v1.Capture."""

    def __init__(self, capture: Capture | None, store: BundleStore, activity: Activity) -> None:
        """Give windows to `capture`; without one every call is refused."""
        self._capture = capture
        self._store = store
        self._activity = activity

    def CaptureWindows(  # noqa: N802 - the service's name for it
        self, request: pb.CaptureWindowsRequest, context: grpc.ServicerContext
    ) -> pb.CaptureWindowsResponse:
        """Take windows of the caller's own."""
        with self._activity.call():
            return guarded(self._take)(request, context)

    def _take(
        self, request: pb.CaptureWindowsRequest, context: grpc.ServicerContext
    ) -> pb.CaptureWindowsResponse:
        agent = caller_name(context, request.agent)
        capture = self._capture
        if capture is None or not capture.settings.enabled:
            raise WrongState("fog", "it captures no inputs")
        bundle = self._store.bundle("", digest=request.bundle_digest)
        model = bundle.manifest.name
        if not capture.takes(model):
            raise WrongState("fog", f"it captures no inputs of {model}")
        try:
            windows = _read(request.windows, bundle)
        except HeadtailError:
            capture.refused(model, len(request.windows))
            raise
        for window, inputs in zip(request.windows, windows, strict=True):
            capture.offer_window(bundle, inputs, agent, max(-1, window.sequence))
        return pb.CaptureWindowsResponse(received=len(windows))


def _read(windows: Sequence[pb.CapturedWindow], bundle: StoredBundle) -> list[list[Array]]:
    """Return the inputs of each window.

    Raises:
        RequestInvalid: If there are too many windows, or too few tensors.
        TensorError: If a tensor is not what the model takes.
    """
    if len(windows) > MAX_WINDOWS:
        raise RequestInvalid("windows", f"expected at most {MAX_WINDOWS}, received {len(windows)}")
    return [_inputs(window, bundle) for window in windows]


def _inputs(window: pb.CapturedWindow, bundle: StoredBundle) -> list[Array]:
    manifest = bundle.manifest
    if len(window.inputs) != len(manifest.inputs):
        raise RequestInvalid(
            "window", f"expected {len(manifest.inputs)} inputs, received {len(window.inputs)}"
        )
    arrays = []
    for spec, tensor in zip(manifest.inputs, window.inputs, strict=True):
        alone = spec
        if manifest.is_batchable:
            alone = TensorSpec(spec.name, spec.dtype, spec.shape[1:])
        if any(n < 0 for n in tensor.shape):
            raise ShapeMismatch(f"input '{spec.name}'", alone.shape, tuple(tensor.shape))
        array = from_buffer(tensor.content, alone, tensor.shape)
        check_finite(array, f"input '{spec.name}'")
        arrays.append(array)
    return arrays
