from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "keyrate_checks.json"


@pytest.fixture(scope="session")
def checks() -> dict[str, Any]:
    """Check values of an independent implementation of the same formulas."""
    if not CHECKS.exists():
        pytest.skip(f"{CHECKS} is not here: it holds an independent implementation's values")
    loaded: dict[str, Any] = json.loads(CHECKS.read_text())
    return loaded
