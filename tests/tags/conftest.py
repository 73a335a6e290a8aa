from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `brute`

DATA = Path(__file__).parents[3] / "shared" / "data" / "qd_hbt_ptu"


@pytest.fixture(scope="session")
def hbt_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"real measured data not found at {DATA}")
    return DATA
