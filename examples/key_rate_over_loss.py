"""How far does the key of a source reach, and where does it lose to laser light?"""

from __future__ import annotations

import sys

import numpy as np

from qdchar.keyrate import SourceFigures, predict
from qdchar.report.figures import draw_key_rate

paper = SourceFigures()
(field,) = predict(paper)
print(f"field link, {field.loss_dB:g} dB: {field.estimate()}")

better = SourceFigures.from_values(0.292, 0.002, n_u=0.008, g2_u=0.0002)
losses = np.linspace(0, 30, 61)
for name, source in (("Table 1", paper), ("g2 = 0.002", better)):
    curve = predict(source, loss_dB=losses)
    reach = max(p.loss_dB for p in curve if p.rate_per_pulse > 0)
    ahead = [p for p in curve if (p.comparator("wcp-vacuum-weak-bb84").advantage_dB or -1.0) > 0]
    print(f"{name}: key up to {reach:g} dB, ahead of decoy BB84 up to {ahead[-1].loss_dB:g} dB")
if len(sys.argv) > 1:
    draw_key_rate(predict(paper, loss_dB=losses), field).savefig(sys.argv[1])
