"""What the tail is asked and what it answers, as messages of the Open Inference Protocol."""

from collections.abc import Mapping, Sequence

from edge_agent.lane import Request
from edge_agent.plan import Plan
from edge_agent.sources.frame import Frame
from headtail.compression import PARAMETER as COMPRESSION
from headtail.compression import compress
from headtail.errors import DTypeMismatch, ShapeMismatch, TensorInvalid
from headtail.oip import RAW_INPUT_FIELD, InferResponse, InferWriter, Parameter
from headtail.segment import Tensors
from headtail.tensor import OIP_DATATYPES, from_buffer, to_bytes
from headtail.wire import encode


class TailCodec:
    """Requests and replies of one plan's tail."""

    def __init__(self, plan: Plan, agent: str) -> None:
        """Write what never changes; `agent` names the sender."""
        self._plan = plan
        self._agent = agent
        self._outputs = plan.manifest.outputs
        wire = plan.point.wire(plan.encoding)
        assert wire is not None, "choose_plan offers nothing else"
        self._wires = [
            (s.name, wire.affine.get(s.name), s.is_batchable) for s in plan.point.activation
        ]
        fixed: dict[str, Parameter] = {"agent": agent}
        if plan.compression:
            fixed[COMPRESSION] = plan.compression
        self._writer = InferWriter(
            plan.tail_name,
            plan.manifest.version,
            plan.wire_specs,
            RAW_INPUT_FIELD,
            fixed,
        )

    def request(
        self,
        frames: Sequence[Frame],
        activation: Tensors,
        now_s: float,
        deadline_s: float,
        more: Mapping[str, Parameter] | None = None,
    ) -> Request:
        """Return the message that asks for the outputs of `frames`.

        Args:
            frames: The windows, in order.
            activation: Theirs, by tensor name.
            now_s: Now, on the holder's monotonic clock.
            deadline_s: Until when the answer is wanted, on the same clock; the wire carries the
                milliseconds that remain.
            more: Parameters of the request beside its own.
        """
        sequences = [str(f.sequence) for f in frames]
        name = self.request_id(frames)
        parameters: dict[str, Parameter] = {
            "sequences": ",".join(sequences),
            "deadline_ms": max(1, round(1e3 * (deadline_s - now_s))),
            # From any origin: the fog compares how late windows come with how late others came.
            "sent_ms": int(1e3 * now_s),
        }
        if more:
            parameters |= more
        encoding = self._plan.encoding
        arrays = [encode(activation[n], encoding, affine, rows) for n, affine, rows in self._wires]
        contents = None
        if self._plan.compression:
            contents = [compress(to_bytes(array)) for array in arrays]
        content = self._writer.write(name, parameters, arrays, contents)
        return Request(name, content, now_s, deadline_s)

    def request_id(self, frames: Sequence[Frame]) -> str:
        """Return the id of the request that brings windows; it stands in both programs' logs."""
        return f"{self._agent}/{frames[0].sequence}"

    def outputs(self, response: InferResponse, windows: int) -> Tensors:
        """Return the model's outputs for so many windows, by name.

        Raises:
            TensorError: If one is missing or not what the manifest says.
        """
        received = {t.name: t for t in response.outputs}
        outputs: Tensors = {}
        for spec in self._outputs:
            tensor = received.get(spec.name)
            if tensor is None:
                raise TensorInvalid("reply", f"output '{spec.name}'", ", ".join(received) or "none")
            if tensor.datatype != OIP_DATATYPES[spec.dtype]:
                raise DTypeMismatch(f"output '{spec.name}'", spec.dtype, tensor.datatype[:16])
            if spec.is_batchable and tensor.shape[:1] != (windows,):
                expected = (windows, *spec.shape[1:])
                raise ShapeMismatch(f"output '{spec.name}'", expected, tensor.shape)
            outputs[spec.name] = from_buffer(tensor.content, spec, tensor.shape)
        return outputs


def seconds(response: InferResponse, parameter: str) -> float:
    """Return a duration that the fog states in nanoseconds; 0 where it states none."""
    value = response.parameters.get(parameter, 0)
    return value / 1e9 if isinstance(value, int) else 0.0
