"""The accuracy floor where a plan is asked for by hand: refused with both figures."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent.plan import choose_plan
from headtail.bundle import Manifest, read_bundle
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import Point
from headtail.errors import ConfigError
from headtail.wire import Encoding

ACCURACY = {Encoding.FLOAT32: 0.96, Encoding.FLOAT16: 0.955, Encoding.INT8: 0.93}


@pytest.fixture
def manifest(tmp_path: Path, write_test_bundle: Callable[..., Path], trust: Trust) -> Manifest:
    """Return a manifest with a floor between float16 and int8; int4 was not measured."""
    plain = read_bundle(write_test_bundle(tmp_path), trust).manifest

    def measured(point: Point) -> Point:
        wires = [
            msgspec.structs.replace(e, accuracy=ACCURACY.get(e.encoding)) for e in point.encodings
        ]
        return msgspec.structs.replace(point, encodings=tuple(wires))

    points = tuple(measured(p) for p in plain.points)
    return msgspec.structs.replace(plain, format_version=4, points=points, accuracy_floor=0.95)


def test_an_encoding_below_the_floor_is_refused(manifest: Manifest) -> None:
    said = r"point 2 offers float32, float16, received 'int8', whose accuracy is 0\.93: .* 0\.95"
    with pytest.raises(ConfigError, match=said):
        choose_plan(manifest, "2", "int8")
    with pytest.raises(ConfigError, match=r"received 'int4', whose accuracy is unknown: .* 0.95"):
        choose_plan(manifest, "2", "int4")
    assert Encoding.FLOAT16 is choose_plan(manifest, "2", "float16").encoding
    with pytest.raises(ConfigError, match=r"received 'int2'$"):
        choose_plan(manifest, "2", "int2")


def test_a_default_below_the_floor_gives_way_to_float32(manifest: Manifest) -> None:
    """Ours never is below, yet a bundle may be made by others."""
    odd = msgspec.structs.replace(manifest, default_encoding=Encoding.INT8)
    for point in ("auto", "1"):
        assert Encoding.FLOAT32 is choose_plan(odd, point, "auto").encoding
