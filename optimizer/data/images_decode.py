"""Image files as arrays: bounded before they are believed, broken ones named and left out."""

import logging
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.data.dataset import Labels, Progress, Split, silent

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# Decoders beyond these are never tried, whatever a file's first bytes say.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_FILE_BYTES = 64 << 20
# 96 MB as RGB. A photograph of a large sensor has 50 million.
MAX_PIXELS = 32 << 20
MAX_DECODED_BYTES = 6 << 30
NAMED = 20
"""Most skipped files whose names are kept."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images that are not decoded yet, with their classes."""

    paths: Sequence[Path]
    y: Labels
    """Class numbers, shape (N,)."""

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: Labels) -> "ImageFiles":
        """Return the images of these indices."""
        return ImageFiles([self.paths[i] for i in chosen], self.y[chosen])


@dataclass(slots=True)
class Decoder:
    """Decodes images to one size and remembers what it could not read."""

    height: int
    width: int
    skipped: int = 0
    """Images left out."""
    names: list[str] = field(default_factory=list)
    """Folder and name of the first that were left out."""

    def check_memory(self, count: int, where: str) -> None:
        """Refuse more images than memory should hold.

        Raises:
            DataError: If `count` images would take more than 6 GiB.
        """
        needed = count * self.height * self.width * 3
        if needed > MAX_DECODED_BYTES:
            raise DataError(
                where,
                f"expected at most {MAX_DECODED_BYTES >> 30} GiB of decoded images, received"
                f" {count} of {self.height} x {self.width} x 3, {needed / (1 << 30):.1f} GiB;"
                " lower [data.images] height and width, or set max_train_per_class",
            )

    def split(self, files: ImageFiles, what: str, progress: Progress = silent) -> Split:
        """Decode images, uint8, shape (N, height, width, 3); broken ones are left out.

        Args:
            files: What to decode.
            what: What they are for, shown with the progress.
            progress: Told how far it is.
        """
        x = np.empty((len(files), self.height, self.width, 3), np.uint8)
        kept: list[int] = []
        for i, path in enumerate(files.paths):
            if i % 64 == 0:
                progress(f"decoding images for {what}", i, len(files))
            try:
                x[len(kept)] = read_image(path, self.height, self.width)
            except DataError as error:
                self._skip(path, error)
                continue
            kept.append(i)
        progress(f"decoding images for {what}", len(files), len(files))
        return Split(x[: len(kept)], files.y[kept])

    def _skip(self, path: Path, error: DataError) -> None:
        log.warning("image skipped: %s", error)
        self.skipped += 1
        if len(self.names) < NAMED:
            self.names.append(f"{path.parent.name}/{path.name}")


def read_image(path: Path, height: int, width: int) -> Array:
    """Return an image as uint8, shape (height, width, 3), red first, resized as on the edge.

    The size of the file and the size that its header claims are checked before it is decoded.

    Raises:
        DataError: If it cannot be read or decoded, or is too large.
    """
    try:
        found = path.stat()
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(found.st_mode):
            raise DataError(str(path), "is no file")
        if found.st_size > MAX_FILE_BYTES:
            raise DataError(
                str(path), f"expected at most {MAX_FILE_BYTES} bytes, received {found.st_size}"
            )
        with warnings.catch_warnings():
            # Of damaged files, and of Pillow's own, softer limit; ours follows.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                pixels = image.width * image.height
                if pixels > MAX_PIXELS:
                    raise DataError(
                        str(path), f"expected at most {MAX_PIXELS} pixels, received {pixels}"
                    )
                scaled = image.convert("RGB")
                if scaled.size != (width, height):
                    # Pillow's BILINEAR is the filter of headtail.preprocess.image.Resize.
                    scaled = scaled.resize((width, height), Image.Resampling.BILINEAR)
                return np.asarray(scaled)
    # Pillow's decoders raise these for broken files.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(str(path), f"cannot be decoded: {reason}") from error
