"""How much key does one pass of a satellite give, and when should the block begin and end?"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

from qdchar.keyrate import SourceFigures
from qdchar.keyrate.over_time import predict_over_time
from qdchar.link import Link

time_s = np.arange(0.0, 600.0, 5.0)
distance_km = np.hypot(550.0, 7.6 * (time_s - 300.0))  # at 550 km, 7.6 km/s, over the zenith
loss_dB = 12.0 + 20.0 * np.log10(distance_km / 550.0)
dawn_Hz = 100.0 + 30.0 * np.maximum(0.0, time_s - 250.0)

source = SourceFigures()  # Table 1 of Zhang et al.
for name, background in (("night", None), ("dawn", dawn_Hz)):
    key = predict_over_time(source, Link(), time_s, loss_dB, background)
    print(
        f"{name}: {key.key_length:.3g} bit from {key.start_s:g} s to {key.stop_s:g} s; "
        f"{key.key_length_of_all:.3g} bit if all is taken"
    )
assert 0.0 < key.start_s < key.stop_s < time_s[-1]  # low over the horizon, errors cost more
if len(sys.argv) > 1:
    plt.plot(time_s, loss_dB)
    plt.axvspan(key.start_s, key.stop_s, alpha=0.2)
    plt.xlabel("time (s)")
    plt.ylabel("loss (dB)")
    plt.savefig(sys.argv[1])
