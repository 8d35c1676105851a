"""How far a profile's rates reach: what they were fitted to, and what lies too far beyond."""

from typing import Annotated

import msgspec

from headtail.operations import Operations

# A straight line through the fitted range is good for the networks beside it, and says nothing of
# those whose weights leave the caches.
MAX_EXTRAPOLATION = 10

Count = Annotated[int, msgspec.Meta(ge=0)]


class Domain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most MACs of each kind that a fitted run had."""

    conv_macs: Count
    depthwise_macs: Count
    dense_macs: Count

    def beyond(self, operations: Operations) -> str:
        """Return in words what one run has too much of; empty where nothing."""
        for field in self.__struct_fields__:
            asked, fitted = getattr(operations, field), getattr(self, field)
            if asked > MAX_EXTRAPOLATION * fitted:
                kind = field.removesuffix("_macs")
                return (
                    f"{asked} {kind} MACs are over {MAX_EXTRAPOLATION} times the {fitted} that it"
                    " was fitted to"
                )
        return ""
