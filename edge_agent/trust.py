"""Whose bundles the agent accepts: `--trust DIR` and `--key FILE`."""

from pathlib import Path

from headtail.bundle.keys import Trust, key_id, read_public, read_signer, read_trust


def open_trust(folder: str, key: str) -> Trust:
    """Return the trust that two flags ask for.

    Args:
        folder: Of public keys (*.pub); empty: this user's own, unless `key` is named.
        key: A key file; its public half is trusted. Empty: none.

    Raises:
        ConfigError: If a key is missing or no Ed25519 key.
    """
    trusted = Trust({}, "")
    if folder or not key:
        trusted = read_trust(Path(folder) if folder else None)
    if not key:
        return trusted
    path = Path(key)
    # A private file holds both halves; reading it needs more of `cryptography`.
    public = read_public(path) if path.suffix == ".pub" else read_signer(path).public
    where = " and ".join(w for w in (trusted.where, key) if w)
    return Trust({**trusted.keys, key_id(public): public}, where)
