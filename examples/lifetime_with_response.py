"""How long does the dot live, if the detectors are slower than it? A decay and their response."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from qdchar.analysis import lifetime
from qdchar.notation import text
from qdchar.report.figures import draw_curve

rng = np.random.default_rng(3)
true_s, jitter_s, step_s = 60e-12, 45e-12, 4e-12
bins = np.arange(-0.5e-9, 2.5e-9, step_s)
arrival = rng.normal(0.0, jitter_s, 400_000)
decay, _ = np.histogram(arrival + rng.exponential(true_s, arrival.size), bins)
response, _ = np.histogram(rng.normal(0.0, jitter_s, 400_000), bins)
background = rng.poisson(2.0, (2, decay.size))

folder = Path(tempfile.mkdtemp())
for name, counts in (("decay", decay + background[0]), ("response", response + background[1])):
    table = np.column_stack([(bins[:-1] - bins[0]) * 1e9, counts])
    np.savetxt(folder / f"{name}.txt", table, header="time_ns counts", fmt=("%.4f", "%d"))

result = lifetime.analyse_file(folder / "decay.txt", response=folder / "response.txt")
for estimate in result.estimates:
    print(f"{estimate.name} = {text(estimate)}")
found = next(e for e in result.estimates if e.name == "lifetime")
assert abs(found.value - true_s) < 4 * found.u
if len(sys.argv) > 1:
    draw_curve(result.fits[0].curves[0]).savefig(sys.argv[1])
