"""What limits the uncertainty of a figure: counting, or a certificate?"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt

from qdchar.estimate import Contribution, Estimate
from qdchar.notation import text

# as `qdchar.load_run(RUN).quantities["mean_photon_number"]` gives it for a run
estimate = Estimate(
    name="mean_photon_number",
    value=0.292,
    method="clicks on live pulses over the detectors' efficiency",
    budget=(
        Contribution("photon counting, brightness", 0.0004, "A"),
        Contribution("calibration detector_efficiency", 0.0073, "B"),
        Contribution("calibration path_before", 0.0034, "B"),
        Contribution("polarisation at the detectors, path before", 0.0042, "B"),
    ),
)
print(f"{estimate.quantity.words} = {text(estimate)}")
lines = sorted(estimate.budget, key=lambda c: -abs(c.u))
for c in lines:
    print(f"{(c.u / estimate.u) ** 2:6.1%} of u^2  type {c.kind}  {c.source}")

largest = lines[0]
without = (estimate.u**2 - 0.75 * largest.u**2) ** 0.5
print(f"with half of {largest.source!r}, u = {without:.2g} instead of {estimate.u:.2g}")
if len(sys.argv) > 1:
    plt.figure(figsize=(7, 3), layout="constrained")
    plt.barh([c.source for c in lines], [(c.u / estimate.u) ** 2 for c in lines])
    plt.xlabel("share of the variance")
    plt.savefig(sys.argv[1])
