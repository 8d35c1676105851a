"""Tests of `weights = "imagenet"` against a real HTTP server on this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, deserted_url, serving

from headtail.errors import ConfigError
from optimizer.images.config import BackboneConfig

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
CONFIG = BackboneConfig("MobileNetV2", weights="imagenet", options={"alpha": 0.35})
SHAPE = (96, 96, 3)
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Return a running server that stands where Keras' own stood; nothing is cached before."""
    from keras.src.applications import mobilenet_v2

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path), raising=False)
    with serving() as running:
        monkeypatch.setattr(mobilenet_v2, "BASE_WEIGHT_PATH", f"{running.url}/")
        yield running


def test_weights_of_the_server_arrive_in_the_backbone(server: FileServer, tmp_path: Path) -> None:
    """Served in the layout of keras.applications' own files, they are those of our layers."""
    import keras

    from optimizer.images.backbone import build_classifier

    plain = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=SHAPE, alpha=0.35
    )
    rng = np.random.default_rng(0)
    plain.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in plain.get_weights()])
    plain.save(tmp_path / "legacy.h5")
    server.files[FILE] = (tmp_path / "legacy.h5").read_bytes()
    model = build_classifier(CONFIG, SHAPE, 3)
    expected = plain.get_weights()
    for ours, theirs in zip(model.get_weights(), expected, strict=False):
        np.testing.assert_array_equal(theirs, ours)
    assert len(expected) + 2 == len(model.get_weights())


def test_server_without_the_file_is_one_line(server: FileServer) -> None:
    from optimizer.images.backbone import build_classifier

    with pytest.raises(
        ConfigError, match=r"weights 'imagenet': .*127\.0\.0\.1.*404.*Not Found"
    ) as e:
        build_classifier(CONFIG, SHAPE, 3)
    assert "\n" not in str(e.value)


def test_server_that_is_away_is_one_line(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the connection: nobody listens on the port of a server just closed."""
    from keras.src.applications import mobilenet_v2

    from optimizer.images.backbone import build_classifier

    monkeypatch.setattr(mobilenet_v2, "BASE_WEIGHT_PATH", f"{deserted_url()}/")
    with pytest.raises(ConfigError, match=r"weights 'imagenet': .*127\.0\.0\.1.*refused"):
        build_classifier(CONFIG, SHAPE, 3)
