"""A private certificate authority in a folder: made, and certificates issued from it.

Keys are ECDSA on P-256, which every TLS 1.3 implementation has (RFC 8446, section 9.1).
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headtail.errors import ConfigError
from headtail.files import write_file
from headtail.identity import Identity, Role

CA_CERT, CA_KEY, ISSUED, INDEX = "ca.pem", "ca.key", "issued", "issued.jsonl"
MAX_DAYS = 36500
# A device's clock may be slow when it first uses its certificate.
BACKDATED = timedelta(minutes=10)
# Who opens connections, who accepts them: a stolen edge certificate cannot play the fog.
_USAGES = {
    Role.EDGE: [ExtendedKeyUsageOID.CLIENT_AUTH],
    Role.FOG: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    Role.OPERATOR: [ExtendedKeyUsageOID.CLIENT_AUTH],
    Role.OPTIMIZER: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a certificate and its key were written."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Validity:
    """From `now`, a little backdated, for a time."""

    now: datetime
    days: float
    until: datetime | None = None
    """The end whatever the days say: the authority's own."""

    def __post_init__(self) -> None:
        if not 0 < self.days <= MAX_DAYS:
            raise ConfigError("--days", f"expected more than 0, up to {MAX_DAYS}")

    @property
    def not_before(self) -> datetime:
        """First moment at which the certificate is good."""
        return self.now - BACKDATED

    @property
    def not_after(self) -> datetime:
        """Last moment at which the certificate is good."""
        until = self.now + timedelta(days=self.days)
        return until if self.until is None else min(until, self.until)


def valid_from_now(days: float) -> Validity:
    """Return what is valid from this machine's clock on."""
    return Validity(datetime.now(UTC), days)


def make_authority(folder: Path, name: str, validity: Validity) -> Path:
    """Make an authority: `ca.key`, its owner's alone, and `ca.pem`; return the latter's path.

    Raises:
        ConfigError: If there is one already, or the folder cannot be written.
    """
    if (folder / CA_KEY).exists():
        raise ConfigError(str(folder / CA_KEY), "there is an authority already")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    certificate = (
        _builder(subject, subject, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_file(folder / CA_KEY, _key_pem(key), 0o600)
    write_file(folder / CA_CERT, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return folder / CA_CERT


def issue(folder: Path, identity: Identity, hosts: Sequence[str], validity: Validity) -> Issued:
    """Issue a certificate from the authority in `folder`, into its folder `issued`.

    Args:
        folder: Of the authority.
        identity: Whom the certificate names.
        hosts: Names and IP addresses under which a server is called; others have none.
        validity: From when, for how long; it ends with the authority's own at the latest.

    Raises:
        ConfigError: If there is no authority, the hosts do not fit the role, or a file cannot be
            written.
    """
    is_server = ExtendedKeyUsageOID.SERVER_AUTH in _USAGES[identity.role]
    if bool(hosts) != is_server:
        need = "at least one" if is_server else "none"
        raise ConfigError("--host", f"expected {need} for a certificate of role {identity.role}")
    authority, authority_key = _read_authority(folder)
    validity = replace(validity, until=authority.not_valid_after_utc)
    if validity.not_after <= validity.not_before:
        raise ConfigError(str(folder / CA_CERT), "the authority has ended; make a new one")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(identity.uri), *map(_host, hosts)]
    certificate = (
        _builder(_subject(identity.name), authority.subject, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES[identity.role]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    stem = f"{identity.role.value}-{identity.name}"
    issued = Issued(folder / ISSUED / f"{stem}.pem", folder / ISSUED / f"{stem}.key")
    _remember(folder, certificate, identity)
    write_file(issued.key, _key_pem(key), 0o600)
    write_file(issued.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return issued


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def issued_to(folder: Path, identity: Identity) -> list[str]:
    """Return the fingerprints of every certificate ever issued to `identity`, oldest first."""
    path = folder / INDEX
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = (msgspec.json.decode(line, type=_Record) for line in lines)
    return [r.sha256 for r in records if r.identity == str(identity)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the index of issued certificates."""

    identity: str
    sha256: str
    not_after: str


def _remember(folder: Path, certificate: x509.Certificate, identity: Identity) -> None:
    """Add a certificate to the index, before it exists: what is not there cannot be revoked."""
    not_after = certificate.not_valid_after_utc.isoformat()
    record = _Record(str(identity), fingerprint(certificate), not_after)
    try:
        with (folder / INDEX).open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")
    except OSError as error:
        raise ConfigError(str(folder / INDEX), f"cannot be written: {error.strerror}") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text):
        raise ConfigError("--host", f"expected a name or an IP address, received {text[:80]!r}")
    return x509.DNSName(text)


def _read_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / CA_CERT).read_bytes())
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(
            str(folder), f"no authority here ({error.strerror}); make one with 'headtail ca init'"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(str(folder), "ca.pem or ca.key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(str(folder / CA_KEY), "expected an ECDSA key")
    return certificate, key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
