"""A network to train, and what of its deployment the training may mimic."""

import msgspec

from headtail.wire import Encoding
from optimizer.network import Genome


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network to train for a search, with what of its deployment the training may mimic."""

    genome: Genome
    input: int
    """Which of the inputs it takes: 0 is the recipe's own."""
    point: int
    """The best partition point, counted in layers."""
    encoding: Encoding
    """How the activation travels there."""
    epochs: int = 0
    """Passes over the training windows; 0 for those of [search]."""
    fold: int = 0
    """Which split it is trained on: 0 is the search's, others are drawn anew."""
