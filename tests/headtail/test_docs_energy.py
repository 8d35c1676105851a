"""The energy page: its examples run."""

import doctest
import re
from pathlib import Path

import pytest

from headtail.energy import predict_compute
from headtail.operations import Operations
from headtail.profile import read_device_profile

PAGE = Path(__file__).parents[2] / "docs" / "energy.md"


def test_python_examples_give_what_they_show() -> None:
    """Every prompt on the page is run."""
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (0, True) == (result.failed, result.attempted > 8)


def test_example_profile_is_read(tmp_path: Path) -> None:
    """The TOML on the page is a whole profile: 0.875 W for 70 us and 1000 MACs at 0.6 ns."""
    path = tmp_path / "my-pi.toml"
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path.write_text(blocks[0])
    cost = predict_compute(read_device_profile(str(path)), Operations(conv_macs=1000))
    assert pytest.approx(0.875 * 70.6e-6) == cost.joules
