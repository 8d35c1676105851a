"""How a canary is judged: the rules, as the configuration and a request give them."""

from typing import Annotated

import msgspec

Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
# Bounded above, since infinity cannot be written down.
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `rollout.rules`: what a request to start a canary leaves open."""

    share_ratio: Ratio = 0.1
    """Share of the agents that run the canary; at least one agent where it is not 0."""
    bake_s: Amount = 300.0
    """How long a canary runs before it may be promoted."""
    timeout_s: Positive = 86400.0
    """How long a canary waits for enough windows before it is rolled back."""
    min_windows: Count = 100
    """Windows of the canary's agents without which it is not judged."""
    max_failed_increase: Ratio = 0.01
    """By how much its share of failed windows may be larger than the active one's."""
    max_latency_increase_ratio: Amount = 0.25
    """By how much its mean latency may be larger, relative to the active one's."""
    max_energy_increase_ratio: Amount = 0.1
    """By how much its mean modelled energy of a window may be larger, relative to the active's."""
    min_agreement_ratio: Ratio = 0.9
    """Share of the shadowed windows to which both give the same answer."""
    min_shadows: Count = 50
    """Shadowed windows without which agreement is not held in its favour."""
    needs_agreement: bool = False
    """Whether a canary waits for these, and is rolled back where they do not come in time."""
    shadow_ratio: Ratio = 0.05
    """Share of the windows, the active one's and the canary's, that is run through both."""
    promotes: bool = True
    """Whether the rule promotes a canary that passed; it rolls back one that failed in any case."""
