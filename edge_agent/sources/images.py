"""Windows from a folder of image files; Pillow is imported here and only when used."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge_agent.sources.frame import BEGINNING, Frame, Start
from edge_agent.sources.intake import ONLY_INPUT, Intake
from headtail.errors import ConfigError, DataError
from headtail.tensor import Array

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 64 << 20


class ImagesSource:
    """Frames of every image under a folder, in the order of their names.

    An image that cannot be read is named in the log, counted and left out; its position stays
    unused, so that `sample` keeps naming files. An image in a folder named like a label carries
    that label.
    """

    def __init__(self, folder: Path, intake: Intake, labels: Sequence[str]) -> None:
        """List the folder.

        Raises:
            ConfigError: If Pillow is not installed.
            DataError: If there is no such folder, or no image in it.
        """
        try:
            import PIL.Image  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise ConfigError(
                "--source images",
                "needs Pillow; install the edge extra: pip install 'headtail[edge]'",
            ) from error
        if not folder.is_dir():
            raise DataError(str(folder), "expected a folder of images")
        self._files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not self._files:
            raise DataError(str(folder), f"no images; looked for {', '.join(sorted(SUFFIXES))}")
        self._folder = folder
        self._start = BEGINNING
        self._intake = intake
        self._labels = {label: i for i, label in enumerate(labels)}
        self.skipped = 0

    is_replayed = True

    @property
    def identity(self) -> str:
        """The folder: images may come to it, and a run goes on after the last one's name."""
        return f"images:{self._folder.resolve()}"

    def resume(self, start: Start) -> None:
        """Go on with the first image whose name sorts after the last one's."""
        self._start = start

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield frames, `limit` at a time."""
        frames: list[Frame] = []
        sequence = self._start.sequence
        last = self._folder / self._start.place if self._start.place else None
        for i, path in enumerate(self._files):
            if last is not None and path <= last:
                continue
            try:
                array = read_image(path)
            except DataError as error:
                self.skipped += 1
                log.warning("image skipped: %s", error)
                continue
            frames.append(
                Frame(
                    sequence=sequence,
                    sample=i,
                    tensors=self._intake.prepare({ONLY_INPUT: array}, str(path)),
                    truth=self._labels.get(path.parent.name),
                    place=str(path.relative_to(self._folder)),
                )
            )
            sequence += 1
            if len(frames) == limit:
                yield frames
                frames = []
        if frames:
            yield frames
        if self.skipped:
            log.warning("%d of %d images skipped", self.skipped, len(self._files))

    def close(self) -> None:
        """Nothing is held between batches."""


def read_image(path: Path) -> Array:
    """Return an image as uint8, shape (height, width, 3), red first.

    Raises:
        DataError: If it cannot be decoded or has more than 64 Mi pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Of damaged files, and of Pillow's own, softer limit; ours follows.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(str(path), f"more than {MAX_PIXELS} pixels")
                return np.asarray(image.convert("RGB"))
    # Pillow's decoders raise these for broken files; struct.error comes from its TIFF reader.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(str(path), f"cannot be decoded: {error}") from error
