"""Stability: nothing but the light path moves, and the time is that of the tagger."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import ValidationError

from qdchar.protocols import stability
from qdchar.protocols.stability import StabilitySettings
from qdchar.raw_data import read_scan
from qdchar.roles import Counts, Identity, TagBlock


@dataclass
class Bench:
    """Light path and tagger in one; it keeps every command. Each dwell is 3 % longer than asked."""

    commands: list[str] = field(default_factory=list)
    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 100, 1.0

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.commands.append(position)

    def selected(self) -> str:
        return self.commands[0]

    def count(self, dwell_s: float) -> Counts:
        self.commands.append("count")
        n = len(self.commands)
        return Counts((1000 + n, 2000 - n), 1.03 * dwell_s)

    def stream(self, duration_s: float) -> list[TagBlock]:
        raise NotImplementedError

    def open(self) -> None: ...

    def close(self) -> None: ...

    def snapshot(self) -> dict[str, float]:
        return {}


def test_slices_follow_one_another(tmp_path: Path) -> None:
    bench, file = Bench(), tmp_path / "stability.csv"
    settings = StabilitySettings(slices=12, dwell_s=0.4)
    scan = stability.measure(bench, bench, file, settings)
    assert bench.commands == ["before", *12 * ["count"]]
    assert scan.x == pytest.approx([0.412 * k for k in range(12)])
    assert scan.clicks[3].tolist() == [1005, 1995]
    assert read_scan(file).about.settings == {"slices": 12, "dwell_s": 0.4}
    assert stability.dwell_s(settings) == pytest.approx(4.8)


def test_too_few_slices_are_refused() -> None:
    with pytest.raises(ValidationError, match="slices"):
        StabilitySettings(slices=9)
