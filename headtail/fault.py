"""What was wrong with an update of an agent's bundle, as agents say it and fogs hear it."""

from enum import StrEnum


class Fault(StrEnum):
    """What was wrong; in the order of the numbers of `headtail.v1.UpdateFault`."""

    NONE = "none"
    LINK = "link"
    """It could not be fetched, or the fog does not serve it."""
    STORAGE = "storage"
    """The device has no room for it."""
    BUNDLE = "bundle"
    """Signature, digest, format, version, or it does not suit the source or the settings."""
    SELF_TEST = "self_test"
    FIRST_WINDOWS = "first_windows"


PASSING = frozenset({Fault.LINK, Fault.STORAGE})
"""Faults that say nothing against the bundle: after them the agent tries again by itself."""
BUNDLES_OWN = frozenset({Fault.BUNDLE, Fault.SELF_TEST, Fault.FIRST_WINDOWS})
"""Faults that are held against the bundle."""
