"""Make the README's picture from a run: python docs/picture.py RUN."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from qdchar.keyrate import SourceFigures, predict
from qdchar.lab.run import read_steps
from qdchar.link import load_link
from qdchar.record import load_record
from qdchar.report.figures import draw_curve, draw_key_rate

run = Path(sys.argv[1])
curves = {
    (step.name, k): curve
    for step in read_steps(run)
    for fit in step.result.fits
    for k, curve in enumerate(fit.curves)
}
shown = [("rabi", 0), ("etalon", 0), ("lifetime", 0), ("cavity", 0), ("hbt_before", 0)]
record, link = load_record(run, accept=True), load_link(None)
source = SourceFigures.from_estimates(
    *(record.estimate(n) for n in ("mean_photon_number", "g2_zero", "clock_rate"))
)
(here,) = predict(source, link)
panels = [draw_curve(curves[key]) for key in shown]
panels.append(draw_key_rate(predict(source, link, loss_dB=np.linspace(0, 30, 61)), here))
mosaic, axes = plt.subplots(2, 3, figsize=(15, 6.4), layout="constrained")
for panel, place in zip(panels, axes.flat, strict=True):
    panel.set_size_inches(5.6, 3.6)
    buffer = io.BytesIO()
    panel.savefig(buffer, format="png", dpi=130)
    place.imshow(plt.imread(io.BytesIO(buffer.getvalue())))
    place.axis("off")
mosaic.savefig(Path(__file__).with_name("calibrate.png"), dpi=95)
