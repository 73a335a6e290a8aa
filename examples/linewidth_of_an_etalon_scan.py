"""How wide is the line, if the etalon that scans it is wider? A narrow laser tells the etalon."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from qdchar.analysis import etalon
from qdchar.estimate import Contribution, Estimate
from qdchar.notation import text
from qdchar.report.figures import draw_curve

rng = np.random.default_rng(5)
line_Hz, etalon_Hz, fsr_Hz, order_V = 3.0e9, 2.5e9, 100e9, 53.0
voltage = np.arange(10.0, 130.0, 0.25)


def peaks(width_Hz: float) -> np.ndarray:
    """Airy-like peaks of this width, one an order."""
    from_peak_Hz = ((voltage / order_V + 0.5) % 1.0 - 0.5) * fsr_Hz
    return 1.0 / (1.0 + (2.0 * from_peak_Hz / width_Hz) ** 2)


folder = Path(tempfile.mkdtemp())
for name, width_Hz, rate in (("narrow", etalon_Hz, 4e5), ("source", line_Hz + etalon_Hz, 6e5)):
    clicks = rng.poisson(0.02 * rate * peaks(width_Hz)[:, None] / 2, (voltage.size, 2))
    table = np.column_stack([voltage, clicks, np.full(voltage.size, 0.02)])
    header = "voltage_V,clicks_a,clicks_b,dwell_s"
    np.savetxt(folder / f"{name}.csv", table, delimiter=",", header=header, comments="", fmt="%.8g")


def given(name: str, value: float, u: float) -> Estimate:
    """A number that is known beforehand."""
    return Estimate(name=name, value=value, method="", budget=(Contribution(name, u, "B"),))


result = etalon.analyse_file(
    folder / "source.csv",
    narrow=folder / "narrow.csv",
    fsr=given("etalon_fsr", fsr_Hz, 0.2e9),
    clock_rate_Hz=80e6,
    dead_pulses=0.0,
    dead_time=given("dead_time", 0.0, 0.0),
)
for estimate in result.estimates:
    print(f"{estimate.name} = {text(estimate)}")
found = next(e for e in result.estimates if e.name == "linewidth")
assert abs(found.value - line_Hz) < 4 * found.u
if len(sys.argv) > 1:
    draw_curve(result.fits[0].curves[0]).savefig(sys.argv[1])
