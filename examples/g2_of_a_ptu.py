"""What do g2(0) and lifetime of a PTU file say about a key? The file is written here first."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from qdchar import open_tags, predict
from qdchar.analysis import hbt
from qdchar.keyrate import SourceFigures
from qdchar.notation import text
from qdchar.report.figures import draw_curve, draw_key_rate
from qdchar.tags.arrays import from_arrays
from qdchar.tags.formats.ptu_writer import write_ptu

rng = np.random.default_rng(11)
period_ps, pulses = 12_500, 2_000_000
pairs = np.flatnonzero(rng.random(pulses) < 0.03 * 0.08**2 / 2)
pulse = np.concatenate([np.flatnonzero(rng.random(pulses) < 0.08), pairs, pairs])
times_ps = pulse * period_ps + np.rint(rng.exponential(80.0, pulse.size)).astype(np.int64)
channels = rng.integers(0, 2, pulse.size)
order = np.argsort(times_ps, kind="stable")

file = Path(tempfile.mkdtemp()) / "run.ptu"
write_ptu(file, from_arrays(times_ps[order], channels[order], resolution_s=1e-12))
print(f"{file.name}: {open_tags(file).duration_s:.4f} s of tags")
result = hbt.analyse_file(file)
g2 = next(e for e in result.estimates if e.name == "g2_zero")
print(f"g2(0) = {text(g2)}")

# the photon number at the channel's input comes from elsewhere: a power or a detector's efficiency
source = SourceFigures.from_values(0.29, g2.value, n_u=0.008, g2_u=g2.u)
curve = predict(source, loss_dB=np.linspace(0, 25, 26))
(here,) = predict(source)
print(f"key at {here.loss_dB:g} dB: {here.rate_per_pulse:.2e} bit per pulse")
if len(sys.argv) > 1:
    curves = [c for fit in result.fits for c in fit.curves]
    figure = draw_curve(curves[0]) if curves else draw_key_rate(curve, here)
    figure.savefig(sys.argv[1])
