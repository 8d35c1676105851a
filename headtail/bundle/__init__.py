"""The bundle: one signed file, the only thing that passes from the optimizer to the fleet."""

from headtail.bundle.archive import Bundle, read_bundle, write_bundle
from headtail.bundle.manifest import Manifest

__all__ = ["Bundle", "Manifest", "read_bundle", "write_bundle"]
