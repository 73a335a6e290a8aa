"""The simulated instruments, each a console on a socket."""

from __future__ import annotations

from .attocube_anc300 import AttocubeConsole
from .elliptec_ell14 import AnalyserConsole
from .keysight_33500 import ModulatorConsole
from .keysight_n776x import AttenuatorConsole
from .optical_switch import SwitchConsole
from .tag_stream import TaggerConsole
from .thorlabs_mdt69x import EtalonPiezoConsole, PhasePiezoConsole
from .thorlabs_pm100 import PowerMeterConsole

__all__ = [
    "AnalyserConsole",
    "AttenuatorConsole",
    "AttocubeConsole",
    "EtalonPiezoConsole",
    "ModulatorConsole",
    "PhasePiezoConsole",
    "PowerMeterConsole",
    "SwitchConsole",
    "TaggerConsole",
]
