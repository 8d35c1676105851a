"""A bundle exported as models of Triton, each compared with the fog's own tail."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.bundle import Bundle
from headtail.bundle.manifest import Point, WireEncoding
from headtail.errors import ConfigError, ExportError, VerificationFailed
from headtail.model_version import model_version
from headtail.segment import SELF_TEST_TOLERANCE, Chain, SessionOptions, load_session
from headtail.segment import relative_error as error_of
from headtail.tensor import Array
from headtail.wire import Encoding, decode, encode, wire_specs
from optimizer.export_triton.folder import make_config, write_model
from optimizer.export_triton.graph import tail_graph
from optimizer.export_triton.settings import Settings

Tensors = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Exported:
    """One model that was written."""

    name: str
    version: int
    graph_bytes: int
    error: float
    """Largest output error on the bundle's samples against the fog's tail, relative to the largest
    output; 0 where both agree to the bit."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One tail that no graph of its own can be."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A model to be written."""

    name: str
    point: Point
    wire: WireEncoding


def export(
    bundle: Bundle,
    repository: Path,
    settings: Settings,
    points: Sequence[int] = (),
    encodings: Sequence[Encoding] = (),
    on_done: Callable[[Exported | LeftOut], None] = lambda _: None,
) -> list[Exported | LeftOut]:
    """Write a model for each tail into a repository, and compare each with the fog's.

    Args:
        bundle: Whose tails are written.
        repository: Folder of models; made if absent, other models in it stay.
        settings: How Triton is to run them.
        points: Partition points; none named means all.
        encodings: Likewise; the whole model under the bundle's name is float32 at point 0.
        on_done: Told of each.

    Raises:
        ConfigError: If there is no such point or encoding, or the bundle's version is no integer
            that Triton takes.
        ExportError: If a graph does not give what the fog's tail gives, or the repository holds
            something else under its name.
    """
    try:
        version = model_version(bundle.manifest.version)
    except ValueError as error:
        raise ConfigError("BUNDLE", str(error)) from error
    wanted = _wanted(bundle, points, encodings)
    chain = Chain(bundle)
    stop = len(bundle.segments)
    chain.merge(bundle, sorted({(w.point.index, stop) for w in wanted}))
    results: list[Exported | LeftOut] = []
    for one in wanted:
        results.append(_export(bundle, chain, one, version, (repository, settings)))
        on_done(results[-1])
    return results


def _wanted(bundle: Bundle, points: Sequence[int], encodings: Sequence[Encoding]) -> list[_Wanted]:
    manifest = bundle.manifest
    last = len(manifest.segments) - 1
    for index in points:
        if not 0 <= index <= last:
            raise ConfigError("--point", f"expected 0 to {last}, received {index}")
    found = [
        _Wanted(name, point, wire)
        for point in manifest.points[:-1]
        if not points or point.index in points
        for wire in point.encodings
        if not encodings or wire.encoding in encodings
        for name in _names(bundle, point, wire)
    ]
    if not found:
        raise ConfigError("--encoding", "no partition point offers it")
    return found


def _names(bundle: Bundle, point: Point, wire: WireEncoding) -> Iterator[str]:
    """Yield the names that agents and others ask for."""
    if point.index == 0 and wire.encoding is Encoding.FLOAT32:
        yield bundle.manifest.name
    yield bundle.manifest.tail_name(point.index, wire.encoding)


def _export(
    bundle: Bundle, chain: Chain, wanted: _Wanted, version: int, to: tuple[Path, Settings]
) -> Exported | LeftOut:
    repository, settings = to
    point, wire = wanted.point, wanted.wire
    try:
        model = tail_graph(bundle, point, wire)
    except ExportError as reason:
        return LeftOut(wanted.name, str(reason))
    content = model.SerializeToString()
    travelling = _travelling(bundle, chain, point, wire)
    error = _verify(bundle, chain, wanted, content, travelling)
    is_batchable = bundle.manifest.is_batchable
    first = {n: a[:1] for n, a in travelling.items()} if is_batchable else travelling
    config = make_config(
        wanted.name,
        wire_specs(point.activation, wire.encoding),
        bundle.manifest.outputs,
        first,
        settings,
        is_batchable,
    )
    write_model(repository, config, version, bundle.digest, content, first)
    return Exported(wanted.name, version, len(content), error)


def _travelling(bundle: Bundle, chain: Chain, point: Point, wire: WireEncoding) -> Tensors:
    """Return the activation of the bundle's samples as it travels."""
    activation = chain.head(bundle.samples.inputs, point.index)
    return {
        s.name: encode(activation[s.name], wire.encoding, wire.affine.get(s.name), s.is_batchable)
        for s in point.activation
    }


def _verify(
    bundle: Bundle, chain: Chain, wanted: _Wanted, content: bytes, travelling: Tensors
) -> float:
    """Return how far the exported graph is from the fog's tail, on all samples and on one.

    Raises:
        VerificationFailed: If it is further than rounding; in float32 both run the same graph, and
            have to agree to the bit where the fog runs it as one.
    """
    point, wire = wanted.point, wanted.wire
    session = load_session(content, SessionOptions(), wanted.name)
    names = [spec.name for spec in bundle.manifest.outputs]
    is_one = chain.is_merged(point.index, len(bundle.segments))
    is_exact = wire.encoding is Encoding.FLOAT32 and is_one
    tolerance = 0.0 if is_exact else SELF_TEST_TOLERANCE
    batches = [travelling]
    if bundle.manifest.is_batchable:
        batches.append({name: array[:1] for name, array in travelling.items()})
    worst = 0.0
    for batch in batches:
        decoded = {
            s.name: decode(batch[s.name], s, wire.affine.get(s.name)) for s in point.activation
        }
        expected = chain.tail(decoded, point.index)
        actual = dict(zip(names, session.run(names, batch), strict=True))
        worst = max(worst, *(error_of(expected[n], actual[n]) for n in names))
    if not worst <= tolerance:
        raise VerificationFailed(f"{wanted.name} for Triton", worst, tolerance)
    return worst
