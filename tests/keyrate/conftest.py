from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def checks() -> dict[str, Any]:
    """Values of an independent implementation of the same formulas, with their tolerances."""
    text = (Path(__file__).parent / "check_values.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
