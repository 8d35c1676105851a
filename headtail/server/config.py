"""The section of a server's configuration that every server has."""

import msgspec


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `tls`: mutual TLS; all four files or none, and each is read again when it changes."""

    ca: str = ""
    """PEM certificates of the authorities whose clients are taken; several while one replaces
    another."""
    cert: str = ""
    """PEM certificate of this server."""
    key: str = ""
    """PEM private key of this server."""
    allow: str = ""
    """TOML file that says which identities may do what."""
