"""A bundle's version as servers know it that count versions: Triton's are integers.

A version of one number is that number. Of several, each after the first takes four digits, so that
1.10 (10010) comes after 1.9 (10009) there too. Bundles of one name are told apart by their digest,
which the exporter writes into the model's configuration.
"""

from headtail.bundle.manifest import version_key

PART = 10_000
MAX_VERSION = (1 << 63) - 1
DIGEST_PARAMETER = "headtail_digest_{version}"
"""Name of the configuration's parameter that holds the bundle's digest of one model version."""


def model_version(version: str) -> int:
    """Return the integer for a bundle's version.

    Raises:
        ValueError: If a number after the first is over 9999, or the whole does not fit 63 bits.
    """
    first, *others = version_key(version)
    number = first
    for part in others:
        if part >= PART:
            raise ValueError(f"version {version}: {part} is over {PART - 1}")
        number = number * PART + part
    if not 0 < number <= MAX_VERSION:
        raise ValueError(f"version {version}: expected 1 to {MAX_VERSION} as one integer")
    return number
