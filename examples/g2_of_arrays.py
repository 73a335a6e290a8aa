"""What is g2(0) of time tags that are arrays already? Here they are drawn with a known g2(0)."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

from qdchar.analysis import hbt
from qdchar.notation import text

rng = np.random.default_rng(7)
clock_Hz, pulses, clicks_per_pulse, g2 = 80e6, 4_000_000, 0.05, 0.02

# a pulse holds two clicks with probability g2 <n>^2 / 2, else one; each click goes either way
pairs = np.flatnonzero(rng.random(pulses) < g2 * clicks_per_pulse**2 / 2)
single = np.flatnonzero(rng.random(pulses) < clicks_per_pulse)
pulse = np.concatenate([single, pairs, pairs])
times_s = pulse / clock_Hz + rng.exponential(60e-12, pulse.size) + rng.normal(0, 40e-12, pulse.size)
channels = rng.integers(0, 2, pulse.size)
order = np.argsort(times_s)
times_s, channels = times_s[order] - times_s.min(), channels[order]

result = hbt.analyse(times_s, channels)
for estimate in result.estimates:
    print(f"{estimate.name} = {text(estimate)}")
(found,) = [e for e in result.estimates if e.name == "g2_zero"]
assert abs(found.value - g2) < 4 * found.u
if len(sys.argv) > 1:
    delays = np.diff(times_s)[channels[1:] != channels[:-1]]
    plt.hist(delays * 1e9, bins=np.arange(0, 60, 0.25))
    plt.xlabel("delay to the next click of the other detector (ns)")
    plt.savefig(sys.argv[1])
