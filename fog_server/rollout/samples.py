"""Both bundles' samples run through both bundles: real windows that need no traffic."""

from fog_server.store import Loaded
from headtail.agreement import count_agreed, is_comparable
from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust


def compare_samples(first: Loaded, second: Loaded, trust: Trust) -> tuple[int, int]:
    """Return how many windows were compared and how many agreed; none where none can be.

    Raises:
        BundleError: If a file is no longer what was loaded.
    """
    manifest = first.bundle.manifest
    if not is_comparable(manifest, second.bundle.manifest):
        return 0, 0
    compared = agreed = 0
    for loaded in (first, second):
        inputs = read_bundle(loaded.bundle.path, trust).samples.inputs
        outputs = [other.tails[0].chain.tail(inputs, 0) for other in (first, second)]
        windows, same = count_agreed(manifest, *outputs)
        compared, agreed = compared + windows, agreed + same
    return compared, agreed
