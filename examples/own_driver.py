"""How does an instrument of one's own get into a station? A class, and one table in a file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from qdchar import load_station
from qdchar.lab.simulated_station import simulated_station_text
from qdchar.roles import PowerMeter

DRIVER = '''
from qdchar.roles import Identity

class OurMeter:
    """Reads 1 mW, less the attenuation that the file gives."""

    def __init__(self, address, *, attenuation_dB):
        self._address, self._factor = address, 10 ** (-attenuation_dB / 10)

    def open(self): ...
    def close(self): ...

    def identify(self):
        return Identity("our workshop", "meter", "7", "1.0", self._address, False)

    def snapshot(self):
        return {"power_W": self.power_W()}

    def power_W(self):
        return 1e-3 * self._factor
'''

folder = Path(tempfile.mkdtemp())
(folder / "our_meter.py").write_text(DRIVER)
text = simulated_station_text(seed=1)  # what `qdchar init` writes
before, _, rest = text.partition("[roles.pump_power]")
ours = """[roles.pump_power]
driver = "our_meter:OurMeter"
address = "shelf 3"
attenuation_dB = 49.0
"""
(folder / "station.toml").write_text(before + ours + rest[rest.index("\n\n") :])

station = load_station(folder / "station.toml")
meter = station.look("pump_power", PowerMeter)  # says what is missing if it does not fit
print(meter.identify())
powers_nW = [1e9 * meter.power_W() for _ in range(5)]
print(f"{powers_nW[0]:.2f} nW")
assert abs(powers_nW[0] - 12.59) < 0.01
if len(sys.argv) > 1:
    plt.plot(powers_nW, "o")
    plt.ylabel("power (nW)")
    plt.savefig(sys.argv[1])
