"""What reading a zip file raises where it is none, is damaged, or is packed in a foreign way."""

import lzma
import zipfile
import zlib

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted, or of a version or compression that zipfile does not know
    ValueError,  # names that are no UTF-8, offsets outside the file
)
"""Without `OSError`, which bad bzip2 raises as a bad disk does."""
