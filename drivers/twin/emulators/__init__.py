"""Emulators: the simulated instruments, each answering its wire protocol on a socket."""

from __future__ import annotations

from .attocube_anc300 import AttocubeEmulator
from .elliptec_ell14 import AnalyserEmulator
from .keysight_33500 import ModulatorEmulator
from .keysight_n776x import AttenuatorEmulator
from .optical_switch import SwitchEmulator
from .tag_stream import TaggerEmulator
from .thorlabs_mdt69x import EtalonPiezoEmulator, PhasePiezoEmulator
from .thorlabs_pm100 import PowerMeterEmulator

__all__ = [
    "AnalyserEmulator",
    "AttenuatorEmulator",
    "AttocubeEmulator",
    "EtalonPiezoEmulator",
    "ModulatorEmulator",
    "PhasePiezoEmulator",
    "PowerMeterEmulator",
    "SwitchEmulator",
    "TaggerEmulator",
]
