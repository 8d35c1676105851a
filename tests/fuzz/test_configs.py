"""Damaged configuration files and profiles: a ConfigError that names the file, and nothing else."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from edge_agent.config import Config as EdgeConfig
from fog_server.config import Config as FogConfig
from fuzzing import damaged, fuzz
from headtail.allow_list import DEFAULT_ROLES, AllowList, encode_allow_list
from headtail.config import decode_toml
from headtail.errors import ConfigError
from headtail.profile import DeviceProfile, LinkProfile

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "headtail/profiles"
ALLOWED = AllowList(
    dict(DEFAULT_ROLES),
    {"edge/agent-7": "edge", "operator/ann": "operator"},
    ("0" * 64,),
)
FILES = [
    ("edge-agent.toml", (ROOT / "deploy/edge/edge-agent.toml").read_bytes(), EdgeConfig),
    ("fog-server.toml", (ROOT / "deploy/fog/fog-server.toml").read_bytes(), FogConfig),
    ("allow.toml", encode_allow_list(ALLOWED), AllowList),
    *((p.name, p.read_bytes(), DeviceProfile) for p in sorted(PROFILES.glob("devices/*.toml"))),
    *((p.name, p.read_bytes(), LinkProfile) for p in sorted(PROFILES.glob("links/*.toml"))),
]
HOSTILE = [
    "9" * 5000, "inf", "nan", "-1", "0", "1e400", '"' + "x" * 5000 + '"', "[[[[[[]]]]]]", "true",
    "1979-05-27T07:32:00Z", "{a = 1}", '""', "'''\n'''", "0x7fffffffffffffffff",
]  # fmt: skip


def check_bytes(data: st.DataObject) -> None:
    name, content, kind = data.draw(st.sampled_from(FILES))
    with suppress(ConfigError):
        decode_toml(data.draw(damaged(content)), kind, name)


def check_values(data: st.DataObject) -> None:
    """One key's value becomes a hostile one; commented keys are switched on."""
    name, content, kind = data.draw(st.sampled_from(FILES))
    lines = content.decode().splitlines()
    keyed = [i for i, line in enumerate(lines) if "=" in line]
    at = data.draw(st.sampled_from(keyed))
    key = lines[at].lstrip("# ").split("=")[0]
    lines[at] = f"{key} = {data.draw(st.sampled_from(HOSTILE))}"
    with suppress(ConfigError):
        decode_toml("\n".join(lines).encode(), kind, name)


test_damaged_bytes, test_damaged_bytes_for_long = fuzz(check_bytes, data=st.data())
test_hostile_values, test_hostile_values_for_long = fuzz(check_values, data=st.data())


@pytest.mark.parametrize("text", [b"a = " + b"[" * 50_000, b"a" + b".a" * 50_000 + b" = 1"])
def test_depth_is_an_error_of_ours(text: bytes) -> None:
    """Nesting past Python's own stack."""
    with pytest.raises(ConfigError, match=r"deep\.toml"):
        decode_toml(text, EdgeConfig, "deep.toml")
