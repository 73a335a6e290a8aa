"""SPARQ's side of peers_sparq.py, run by the Python that has it: tags in, figures out as JSON.

The ways of analysis are those that its manual shows for pulsed light: peak areas, and a fit of the
whole comb. The photon number is the sum of both detectors' rates, each corrected for dead time.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from sparq import HBTConfig, analyze_pulsed, correlate, deadtime_corrected_rate

BIN_NS, RANGE_NS = 0.1, 100.05


def main() -> None:
    """Answer one request."""
    asked = json.loads(sys.argv[1])
    with np.load(asked["tags"]) as tags:
        a, b = tags["a"], tags["b"]
    rates = [
        deadtime_corrected_rate(len(t) / asked["duration_s"], asked["dead_time_ns"]) for t in (a, b)
    ]
    n = sum(rates) * asked["period_ns"] * 1e-9 / asked["efficiency"]
    grid = HBTConfig(tau_max=RANGE_NS, n_bins=round(2 * RANGE_NS / BIN_NS))
    histogram = correlate(a, b, grid)
    found = {}
    for method in ("area", "fit"):
        ends = []
        for level in (0.68, 0.95):
            answer = analyze_pulsed(
                grid.bin_centers, histogram, t_rep=asked["period_ns"], method=method, ci=level
            )
            ends += [answer["g2_0_low"], answer["g2_0_high"]]
        found[f"SPARQ, {'peak areas' if method == 'area' else 'comb fit'}"] = [
            answer["g2_0"],
            *ends,
        ]
    print(json.dumps({"<n>": {"SPARQ": [n, "", "", "", ""]}, "g2(0)": found}))


if __name__ == "__main__":
    main()
