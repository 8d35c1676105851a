"""The images source: names in order, corrupt files named and left out."""

import numpy as np
import pytest
from PIL import Image

from edge_agent.sources.images import ImagesSource, read_image
from edge_agent.sources.intake import Intake
from headtail.bundle.manifest import Step
from headtail.errors import DataError


@pytest.fixture
def image_intake(bundle, rewrite, tmp_path, trust):
    """Return the intake of a bundle whose steps make (16, 2) of an image."""
    from headtail.bundle import read_bundle

    steps = (
        Step("resize", {"height": 4, "width": 4}),
        Step("reshape", {"shape": [48]}),
        Step("interpolate", {"length": 32}),
        Step("reshape", {"shape": [16, 2]}),
    )
    return Intake(read_bundle(rewrite(bundle, tmp_path, preprocess=steps), trust).manifest)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three images, one of them corrupt, and a text."""
    folder = tmp_path / "images"
    for name, red in (("n/a.png", 10), ("s/c.jpg", 200)):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (6, 5), (red, 0, 0)).save(folder / name)
    (folder / "n" / "b.png").write_bytes((folder / "n" / "a.png").read_bytes()[:40])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_corrupt_image_is_named_and_left_out(folder, image_intake, take, caplog):
    source = ImagesSource(folder, image_intake, ("n", "s", "v"))
    frames = take(source)
    assert [0, 2] == [frame.sample for frame in frames]
    assert [0, 1] == [frame.truth for frame in frames]
    assert 1 == source.skipped
    assert ["image skipped", "1 of 3 images skipped"] == [
        record.getMessage().split(":")[0] for record in caplog.records
    ]
    assert "b.png: cannot be decoded" in caplog.text


def test_image_is_rgb_rows_first(tmp_path):
    Image.new("L", (3, 2), 7).save(tmp_path / "grey.png")
    array = read_image(tmp_path / "grey.png")
    assert ((2, 3, 3), np.uint8, 7) == (array.shape, array.dtype, array.max())


def test_huge_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.sources.images.MAX_PIXELS", 5)
    Image.new("L", (3, 2)).save(tmp_path / "big.png")
    with pytest.raises(DataError, match=r"big\.png: more than 5 pixels"):
        read_image(tmp_path / "big.png")


@pytest.mark.parametrize(("make", "reason"), [(False, "a folder of images"), (True, "no images")])
def test_folder_without_images_is_named(tmp_path, intake, make, reason):
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(DataError, match=f"empty: .*{reason}"):
        ImagesSource(folder, intake, ())
