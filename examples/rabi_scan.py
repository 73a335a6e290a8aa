"""Where is the pi pulse? A lab's own script: tune the cavity, scan the pump power, draw it.

It talks to a simulated lab here; with ``load_station(Path("lab.toml"))`` it runs yours.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path

from qdchar.analysis import dead_time, rabi
from qdchar.estimate import Contribution, Estimate
from qdchar.lab.simulated_station import simulated_station
from qdchar.notation import text
from qdchar.protocols import cavity as tune
from qdchar.protocols import dead_time as listen
from qdchar.protocols import rabi as scan_power
from qdchar.protocols.pump import zeroed
from qdchar.report.figures import draw_curve
from qdchar.roles import Attenuator, LightPath, PowerMeter, TimeTagger, VoltageAxis

raw = Path(tempfile.mkdtemp())
with simulated_station(seed=5) as station:
    light_path = station.role("light_path", LightPath)
    cavity_fine = station.role("cavity_fine", VoltageAxis)
    pump_attenuator = station.role("pump_attenuator", Attenuator)
    pump_power = station.role("pump_power", PowerMeter)
    tagger = station.role("tagger", TimeTagger)

    # what the power meter reads without light is taken off its readings
    pump_attenuator.set_attenuation(pump_attenuator.limits_dB[1])
    monitor = zeroed(pump_attenuator, pump_power)

    tuned = tune.CavitySettings()
    tuning = tune.measure(light_path, cavity_fine, pump_attenuator, monitor, tagger, raw, tuned)
    print(f"cavity locked at {tuning.lock.voltage_V:.3f} V, {tuning.lock.rate_Hz:.3g} clicks/s")
    tags = listen.measure(light_path, tagger, raw / "tags.h5", listen.DeadTimeSettings())
    numbers = count(1)

    def relock() -> tune.LockResult:
        return tune.relock(
            light_path, cavity_fine, tagger, raw / f"lock_{next(numbers)}.csv", tuned
        )

    settings = scan_power.RabiSettings()
    scan = scan_power.measure(
        light_path, pump_attenuator, pump_power, tagger, raw / "rabi.csv", settings, relock
    )

clock_Hz = 76.13e6
lost = dead_time.dead_pulses(dead_time.analyse(tags)["dead_time"], clock_Hz)
gain = Estimate(
    name="power_meter_gain",
    value=1.0,
    method="",
    budget=(Contribution("gain", 0.005, "B"),),
)
result = rabi.analyse(scan, clock_rate_Hz=clock_Hz, dead_pulses=lost, power_gain=gain)
for estimate in result.estimates:
    print(f"{estimate.name} = {text(estimate)}")
if len(sys.argv) > 1:
    draw_curve(result.fits[0].curves[0]).savefig(sys.argv[1])
