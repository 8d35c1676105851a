"""The allow list: what it says, and that it is read as it was written."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.allow_list import (
    DEFAULT_ROLES,
    AllowList,
    Right,
    encode_allow_list,
    read_allow_list,
)
from headtail.config import decode_toml
from headtail.errors import ConfigError
from headtail.identity import Identity, Role, parse_identity, parse_uri

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", fullmatch=True)
IDENTITIES = st.builds(Identity, st.sampled_from(Role), NAMES)
ROLES = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.lists(st.sampled_from(Right), unique=True).map(tuple),
    min_size=1,
)
FINGERPRINTS = st.lists(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), max_size=3).map(tuple)


@st.composite
def allow_lists(draw: st.DrawFn) -> AllowList:
    """Draw a list whose every identity has a role that exists."""
    roles = draw(ROLES)
    identities = draw(st.dictionaries(IDENTITIES.map(str), st.sampled_from(sorted(roles))))
    return AllowList(roles, identities, draw(FINGERPRINTS))


@settings(deadline=None)
@given(allowed=allow_lists())
def test_what_is_written_is_read(allowed: AllowList) -> None:
    assert allowed == decode_toml(encode_allow_list(allowed), AllowList, "allow.toml")


@settings(deadline=None)
@given(identity=IDENTITIES)
def test_identity_is_read_from_its_texts(identity: Identity) -> None:
    assert identity == parse_identity(str(identity)) == parse_uri(identity.uri)


@pytest.mark.parametrize(
    "uri",
    [
        "headtail://edge/",
        "headtail://edge",
        "headtail://owner/a",
        "headtail://edge/a/b",
        "headtail://edge/a\n",
        "headtail://edge/..",
        "headtail://EDGE/a",
        "HEADTAIL://edge/a",
        "https://edge/a",
        "headtail://edge/" + "a" * 65,
        "",
    ],
)
def test_text_that_is_no_identity_is_none(uri: str) -> None:
    assert parse_uri(uri) is None


def test_rights_are_those_of_the_role() -> None:
    allowed = AllowList(DEFAULT_ROLES, {"edge/a": "operator"})
    assert {Right.FETCH, Right.PUBLISH, Right.ADMINISTER} == allowed.rights(
        Identity(Role.EDGE, "a")
    )
    assert frozenset() == allowed.rights(Identity(Role.EDGE, "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[identities]\n'edge/a' = 'edge'", "no role 'edge'"),
        ("[roles]\nedge = ['infer', 'everything']", "everything"),
        ("[roles]\nedge = ['infer']\n[identities]\n'root/a' = 'edge'", "root/a"),
        ("revoked = ['abc']", "revoked"),
        ("[rolls]", "rolls"),
        ("'", "TOML"),
    ],
)
def test_wrong_file_is_named_with_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "allow.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"allow\.toml: ") as error:
        read_allow_list(tmp_path / "allow.toml")
    assert message in str(error.value)
