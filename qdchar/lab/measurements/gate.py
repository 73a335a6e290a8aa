"""Time gate: the share of the signal in the receiver's window, from the lifetime's emission."""

from __future__ import annotations

from qdchar import analysis
from qdchar.fit import Result
from qdchar.raw_data import Progress

from ..measurement import Measurement, NoSettings
from ..session import Session


def _run(s: Session, settings: NoSettings, progress: Progress) -> Result:
    return analysis.gate.analyse(
        s.run_of("lifetime"),
        gate_width=s.link.estimates()["gate_width"],
        dark_count_rate=s.known("dark_count_rate"),
        dead_time=s.known("dead_time"),
    )


MEASUREMENT = Measurement(
    name="gate",
    title="time gate",
    run=_run,
    settings=NoSettings,
    provides=("gate_captured_fraction", "dark_count_probability"),
    needs=("dark_count_rate", "dead_time"),
    same_run=("lifetime",),
)
