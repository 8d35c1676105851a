"""The command `headtail`: an authority, certificates, the allow list, keys."""

import stat
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

from headtail.allow_list import read_allow_list
from headtail.bundle.keys import read_signer, read_trust
from headtail.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a new authority."""
    assert main(["ca", "init", str(tmp_path / "ca")]) == 0
    return tmp_path / "ca"


def issue(folder: Path, role: str, name: str, *more: str) -> int:
    """Issue a certificate; return the exit status."""
    return main(["ca", "issue", str(folder), "--role", role, "--name", name, *more])


def test_certificate_names_its_identity_and_can_only_call(folder: Path) -> None:
    """A client's usage alone, so that an agent's key cannot play the fog."""
    assert issue(folder, "edge", "agent-7") == 0
    certificate = x509.load_pem_x509_certificate(
        (folder / "issued" / "edge-agent-7.pem").read_bytes()
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ["headtail://edge/agent-7"] == names.get_values_for_type(x509.UniformResourceIdentifier)
    assert [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH] == list(usage)


def test_private_keys_are_their_owner_s_alone(folder: Path) -> None:
    issue(folder, "fog", "fog-1", "--host", "10.0.0.5")
    for key in (folder / "ca.key", folder / "issued" / "fog-fog-1.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_issuing_lists_and_revoking_strikes_off_with_every_certificate(folder: Path) -> None:
    """Renewed twice, revoked once: both certificates stay refused when the name comes back."""
    issue(folder, "edge", "a")
    issue(folder, "edge", "a")
    issue(folder, "operator", "b")
    assert main(["ca", "revoke", str(folder), "--role", "edge", "--name", "a"]) == 0
    allowed = tomllib.loads((folder / "allow.toml").read_text())
    assert {"operator/b": "operator"} == allowed["identities"]
    assert 2 == len(allowed["revoked"])
    issue(folder, "edge", "a")
    allowed = tomllib.loads((folder / "allow.toml").read_text())
    assert allowed["identities"]["edge/a"] == "edge"
    assert 2 == len(allowed["revoked"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edge", "../x"], "name '../x'"),
        (["edge", "x" * 65], "1 to 64"),
        (["edge", "a", "--host", "h"], "expected none for a certificate of role edge"),
        (["fog", "a"], "expected at least one for a certificate of role fog"),
        (["fog", "a", "--host", "no host"], "expected a name or an IP address"),
        (["edge", "a", "--days", "0"], "--days"),
        (["edge", "a", "--days", "nan"], "--days"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, folder, capsys) -> None:
    before = sorted(folder.rglob("*"))
    assert issue(folder, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert 1 == error.count("\n")
    assert before == sorted(folder.rglob("*"))


def test_an_authority_is_never_overwritten(folder: Path, capsys) -> None:
    before = (folder / "ca.key").read_bytes()
    assert main(["ca", "init", str(folder)]) == 1
    assert "there is an authority already" in capsys.readouterr().err
    assert before == (folder / "ca.key").read_bytes()


def test_a_folder_without_an_authority_is_named(tmp_path: Path, capsys) -> None:
    assert issue(tmp_path, "edge", "a") == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_new_keys_sign_and_are_trusted(tmp_path: Path) -> None:
    assert main(["keys", "new", str(tmp_path / "site")]) == 0
    signer, trust = read_signer(tmp_path / "site.key"), read_trust(tmp_path)
    assert trust.verify(b"manifest", signer.sign(b"manifest"), "b")


def test_role_that_an_older_list_lacks_is_added(tmp_path):
    """Its other roles keep their rights."""
    assert main(["ca", "init", str(tmp_path)]) == 0
    path = tmp_path / "allow.toml"
    path.write_text('[roles]\n"edge" = []\n')
    assert issue(tmp_path, "optimizer", "o-1", "--host", "localhost") == 0
    allowed = read_allow_list(path)
    assert {"edge": (), "optimizer": ()} == allowed.roles
    assert {"optimizer/o-1": "optimizer"} == allowed.identities
