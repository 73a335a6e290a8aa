"""The simulated instruments, each a console on a socket."""

from __future__ import annotations

from .console_33500 import ModulatorConsole
from .console_anc300 import AttocubeConsole
from .console_ell14 import AnalyserConsole
from .console_mdt69x import EtalonPiezoConsole, PhasePiezoConsole
from .console_n776x import AttenuatorConsole
from .console_pm100 import PowerMeterConsole
from .console_switch import SwitchConsole
from .console_tagger import TaggerConsole

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
