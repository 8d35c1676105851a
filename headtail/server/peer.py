"""Who is at the other end of a connection, as its certificate says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from headtail.errors import Unauthenticated
from headtail.identity import Identity, parse_uri

TLS_VERSION = b"TLSv1.3"


@dataclass(frozen=True, slots=True)
class Peer:
    """One certificate, whose signature and chain the handshake has checked."""

    identity: Identity
    fingerprint: str
    """SHA-256 of the certificate, in hexadecimal."""
    not_after: float
    """Unix time, in seconds, until which it is good; connections outlive handshakes."""


def read_peer(properties: Mapping[str, Sequence[bytes]], where: str) -> Peer:
    """Return the peer of a connection with these gRPC authentication properties.

    Args:
        properties: As gRPC gives them.
        where: What the server calls itself in errors.

    Raises:
        Unauthenticated: If it is no TLS 1.3 connection, or its certificate names nobody of ours.
    """
    version = [*properties.get("ssl_tls_version", ())]
    if version != [TLS_VERSION]:
        spoken = b"".join(version).decode("ascii", "replace") or "no TLS"
        raise Unauthenticated(where, f"expected TLSv1.3, received {spoken}")
    certificates = [*properties.get("x509_pem_cert", ())]
    if len(certificates) != 1:
        raise Unauthenticated(where, "no certificate")
    return _read_certificate(certificates[0], where)


@lru_cache(maxsize=1024)
def _read_certificate(pem: bytes, where: str) -> Peer:
    # Only a server with TLS pays for this module.
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        not_after = certificate.not_valid_after_utc.timestamp()
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Unauthenticated(where, "the certificate names no identity") from error
    identities = [i for i in map(parse_uri, uris) if i is not None]
    if len(identities) != 1:
        raise Unauthenticated(where, f"the certificate names {len(identities)} identities, not one")
    return Peer(identities[0], certificate.fingerprint(SHA256()).hex(), not_after)


def peer_host(peer: str) -> str:
    """Return the host of gRPC's `ipv4:HOST:PORT`, `ipv6:[HOST]:PORT` or `unix:PATH`."""
    kind, _, address = peer.partition(":")
    return address.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer or "local"
