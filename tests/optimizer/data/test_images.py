"""Tests of image folders: decoding, limits, shares, broken files."""

import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from images_case import draw, draw_classes
from PIL import Image

from headtail.errors import DataError
from headtail.preprocess.image import Resize
from optimizer.data.dataset import DataConfig, Dataset, Split
from optimizer.data.images import halves, list_folders
from optimizer.data.images_config import ImagesConfig
from optimizer.data.images_decode import Decoder, read_image
from optimizer.data.load import load

SIZE = ImagesConfig(height=10, width=12)


def config(folder: Path, **changes: object) -> DataConfig:
    """Return a section [data] for `folder`."""
    fields: dict[str, object] = {"source": "images", "path": str(folder), "images": SIZE}
    return DataConfig(**{**fields, **changes})


def keys(dataset: Dataset) -> dict[str, set[bytes]]:
    """Return the images of each split as bytes."""
    return {name: {x.tobytes() for x in split.x} for name, split in dataset.splits.items()}


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_pixels_arrive_as_they_are(tmp_path: Path) -> None:
    expected = draw(tmp_path / "a.png", 1)
    actual = read_image(tmp_path / "a.png", 10, 12)
    assert np.uint8 == actual.dtype
    np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(("height", "width"), [(5, 6), (7, 9), (21, 30)])
def test_resize_is_that_of_the_edge(tmp_path: Path, height: int, width: int) -> None:
    """Pillow rounds between its two passes, the edge does not: within one level of 255."""
    pixels = draw(tmp_path / "a.png", 2)
    actual = read_image(tmp_path / "a.png", height, width)
    expected = Resize(height, width).apply(pixels.astype(np.float64))
    assert np.abs(expected - actual).max() <= 1.01


def test_grey_and_palette_images_become_three_channels(tmp_path: Path) -> None:
    grey = np.arange(120, dtype=np.uint8).reshape(10, 12)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.gif")
    for name in ("grey.png", "palette.gif"):
        np.testing.assert_array_equal(
            np.repeat(grey[:, :, None], 3, 2), read_image(tmp_path / name, 10, 12)
        )


def test_each_class_is_dealt_60_20_20(tmp_path: Path) -> None:
    """No image is in two splits, none is lost, and the shares hold in every class."""
    folder = draw_classes(tmp_path / "weeds", {"b": 10, "a": 20, "c": 5})
    dataset = load(config(folder))
    assert ("a", "b", "c") == dataset.labels
    assert {"a": 12, "b": 6, "c": 3} == dataset.train.counts(dataset.labels)
    assert {"a": 4, "b": 2, "c": 1} == dataset.validation.counts(dataset.labels)
    assert {"a": 4, "b": 2, "c": 1} == dataset.test.counts(dataset.labels)
    assert 35 == len(set.union(*keys(dataset).values()))
    assert (21, 10, 12, 3) == dataset.train.x.shape
    assert np.uint8 == dataset.train.x.dtype
    assert ("weeds", "paper", 0) == (dataset.name, dataset.protocol, dataset.notes["skipped"])


def test_labels_belong_to_their_images(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path, {"a": 8, "b": 8})
    dataset = load(config(folder))
    for split in dataset.splits.values():
        for x, y in zip(split.x, split.y, strict=True):
            files = (folder / dataset.labels[y]).iterdir()
            assert any(np.array_equal(x, np.asarray(Image.open(f))) for f in files)


def test_seed_draws_the_splits_and_the_fingerprint(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path, {"a": 10, "b": 10})
    first, again, other = (load(config(folder, seed=seed)) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint
    assert keys(first)["train"] != keys(other)["train"]


def test_given_parts_are_kept_apart(tmp_path: Path) -> None:
    """Test images stay test images; validation comes out of train where it has no folder."""
    draw_classes(tmp_path / "train", {"a": 10, "b": 10})
    draw_classes(tmp_path / "test", {"a": 3, "b": 3}, size=(24, 20))
    dataset = load(config(tmp_path, protocol="given"))
    assert [16, 4, 6] == [len(split) for split in dataset.splits.values()]
    _, labels = list_folders(tmp_path)
    expected = {read_image(p, 10, 12).tobytes() for p in (tmp_path / "test").rglob("*.png")}
    assert (expected, ("a", "b")) == (keys(dataset)["test"], labels)
    draw_classes(tmp_path / "validation", {"a": 1, "b": 2})
    dataset = load(config(tmp_path, protocol="given"))
    assert [20, 3, 6] == [len(split) for split in dataset.splits.values()]
    dataset = load(config(tmp_path))
    assert 29 == sum(len(split) for split in dataset.splits.values())


def test_given_needs_the_folders(tmp_path: Path) -> None:
    draw_classes(tmp_path, {"a": 10, "b": 10})
    with pytest.raises(DataError, match="protocol 'given': expected folders 'train' and 'test'"):
        load(config(tmp_path, protocol="given"))


def test_broken_images_are_named_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Others stay in the split they would have been in."""
    folder = draw_classes(tmp_path, {"a": 10, "b": 10})
    whole = keys(load(config(folder)))
    content = (folder / "a" / "003.png").read_bytes()
    (folder / "a" / "003.png").write_bytes(content[: len(content) // 2])
    (folder / "b" / "001.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        dataset = load(config(folder))
    assert 2 == dataset.notes["skipped"]
    assert {"a/003.png", "b/001.png"} == set(dataset.notes["skipped_files"])
    assert 18 == sum(len(split) for split in dataset.splits.values())
    assert all(images <= whole[name] for name, images in keys(dataset).items())
    assert "a/003.png: cannot be decoded" in caplog.text


def test_class_without_a_good_image_is_an_error(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path, {"a": 10, "b": 10})
    for path in (folder / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class 'b': expected images to learn from, received none"):
        load(config(folder))


def test_train_folder_without_images_is_an_error(tmp_path: Path) -> None:
    draw_classes(tmp_path / "test", {"a": 3, "b": 3})
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="class 'a': expected images to learn from, received none"):
        load(config(tmp_path, protocol="given", max_train_per_class=2))


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """A folder or a pipe with the name of an image; opening the pipe would never return."""
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("folder.png", "pipe.png"):
        with pytest.raises(DataError, match=rf"{name}: is no file"):
            read_image(tmp_path / name, 8, 8)


def test_size_is_checked_before_decoding(tmp_path: Path) -> None:
    """A header is refused by what it claims; of 40,000 x 40,000 pixels Pillow does so itself."""
    (tmp_path / "large.png").write_bytes(png_header(8_000, 8_000))
    with pytest.raises(DataError, match="expected at most 33554432 pixels, received 64000000"):
        read_image(tmp_path / "large.png", 8, 8)
    (tmp_path / "bomb.png").write_bytes(png_header(40_000, 40_000))
    with pytest.raises(DataError, match=r"bomb\.png: cannot be decoded: Image size .* exceeds"):
        read_image(tmp_path / "bomb.png", 8, 8)
    with (tmp_path / "long.png").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(DataError, match="expected at most 67108864 bytes, received 67108865"):
        read_image(tmp_path / "long.png", 8, 8)


def test_unlisted_formats_are_not_tried(tmp_path: Path) -> None:
    """An icon under the name of a JPEG is not decoded, though Pillow could."""
    Image.new("RGB", (16, 16)).save(tmp_path / "a.ico")
    (tmp_path / "a.ico").rename(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded: cannot identify image file"):
        read_image(tmp_path / "a.jpg", 8, 8)


def test_more_than_memory_holds_is_refused() -> None:
    with pytest.raises(DataError, match=r"at most 6 GiB .* received 600 of 2048 x 2048 x 3, 7\.0"):
        Decoder(2048, 2048).check_memory(600, "data 'x'")


def test_cap_keeps_as_many_of_each_class(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path, {"a": 20, "b": 5})
    dataset = load(config(folder, max_train_per_class=4))
    assert {"a": 4, "b": 3} == dataset.train.counts(dataset.labels)


def test_datasets_a_and_b_share_each_class() -> None:
    """Of 30 and 10 training images a quarter is B; 0 uses all for both."""
    y = np.repeat([0, 1], [32, 8])
    train = Split(np.arange(40, dtype=np.uint8)[:, None], y)
    a, b = halves(train, ImagesConfig(fine_tune_ratio=0.25), np.random.default_rng(0))
    assert ([24, 6], [8, 2]) == (np.bincount(a.y).tolist(), np.bincount(b.y).tolist())
    assert set(range(40)) == set(a.x.ravel().tolist()) | set(b.x.ravel().tolist())
    both = halves(train, ImagesConfig(), np.random.default_rng(0))
    assert both == (train, train)


@pytest.mark.parametrize(
    ("counts", "message"),
    [({}, "no such folder"), ({"a": 3}, "at least two classes, received 1")],
    ids=["missing", "one class"],
)
def test_folder_without_classes_is_refused(
    tmp_path: Path, counts: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(config(draw_classes(tmp_path / "x", counts)))


def test_images_need_a_path() -> None:
    with pytest.raises(DataError, match="data source 'images': expected `path`, a folder"):
        load(DataConfig(source="images"))


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.0, 0.5)])
def test_shares_must_leave_a_test(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="train_ratio and validation_ratio must"):
        ImagesConfig(train_ratio=shares[0], validation_ratio=shares[1])


@pytest.mark.data
def test_cifar10_small_in_both_protocols(real_data: Callable[[str], Path]) -> None:
    real_data("cifar10_small")
    size = ImagesConfig(height=32, width=32)
    given = load(DataConfig(source="cifar10_small", protocol="given", images=size))
    assert [4800, 1200, 1500] == [len(split) for split in given.splits.values()]
    dealt = load(DataConfig(source="cifar10_small", images=size))
    assert [4500, 1500, 1500] == [len(split) for split in dealt.splits.values()]
    assert {150} == set(dealt.test.counts(dealt.labels).values())
    assert (10, "airplane", 0) == (len(dealt.labels), dealt.labels[0], dealt.notes["skipped"])
