"""The tests of freezing share small networks, which `freeze_case` builds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
