from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.record import VOCABULARY

sys.path.insert(0, str(Path(__file__).parent))  # for `pulsed_light`

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"real measured data not found at {DATA}")
    return DATA


@pytest.fixture(autouse=True)
def _figures_are_in_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever figure an analysis hands on in a test, a record must be able to hold."""
    made: list[Estimate] = []
    plain = Result.__init__

    def watched(self: Result, *arguments: Any, **more: Any) -> None:
        plain(self, *arguments, **more)
        made.extend(self.estimates)

    monkeypatch.setattr(Result, "__init__", watched)
    yield
    strange = {
        f"{e.name} [{e.unit}]"
        for e in made
        if e.name not in VOCABULARY or e.unit != VOCABULARY[e.name].unit
    }
    assert not strange, f"not in the record's vocabulary, or there with another unit: {strange}"
