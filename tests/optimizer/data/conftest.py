"""Real data where it is, and a folder of synthetic records laid out like MIT-BIH."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.data.aami import RECORDS
from optimizer.data.record import write_record
from optimizer.data.synthetic import make_record


@pytest.fixture(scope="session")
def mitdb(real_data: Callable[[str], Path]) -> Path:
    """Return the folder of the real MIT-BIH, or skip."""
    return real_data("mitdb/100.hea").parent


@pytest.fixture(scope="session")
def synthetic_mitdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a synthetic record of half a minute under each name of MIT-BIH."""
    folder = tmp_path_factory.mktemp("mitdb")
    for name in RECORDS:
        write_record(folder, name, make_record(30.0, np.random.default_rng(int(name))))
    return folder
