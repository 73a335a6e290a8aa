"""Serve a simulated lab: its instruments on loopback sockets, and the station file for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .broken_lab import BrokenLab, PlannedFault
from .broken_wire import on_broken_wire
from .emulators import (
    AnalyserEmulator,
    AttenuatorEmulator,
    AttocubeEmulator,
    EtalonPiezoEmulator,
    ModulatorEmulator,
    PhasePiezoEmulator,
    PowerMeterEmulator,
    SwitchEmulator,
    TaggerEmulator,
)
from .emulators.attocube_anc300 import PASSWORD
from .emulators.optical_switch import ARMS, PORTS
from .lab import FINE_AXIS, STEPPER_AXIS, Lab
from .light import ATTENUATION_RANGE_dB
from .polarisation import HALF_WAVES
from .truth import Truth

_EMULATORS = {
    "anc": AttocubeEmulator,
    "pump_power": PowerMeterEmulator,
    "pump_attenuator": AttenuatorEmulator,
    "etalon_piezo": EtalonPiezoEmulator,
    "light_path": SwitchEmulator,
    "tagger": TaggerEmulator,
    "modulator": ModulatorEmulator,
    "analyser": AnalyserEmulator,
    "interferometer_phase": PhasePiezoEmulator,
}

INSTRUMENTS = tuple(_EMULATORS)
"""Names of the instruments that a simulated lab serves; several roles may share one."""


@dataclass(frozen=True)
class Served:
    """A simulated lab that is being served.

    Attributes
    ----------
    lab
        The lab itself, for the program that serves it; others have only the addresses.
    addresses
        ``tcp://host:port`` of each emulator.
    nominal
        What was true in it before anything broke.
    """

    lab: Lab
    addresses: Mapping[str, str]
    nominal: Truth

    @property
    def ports(self) -> dict[str, int]:
        """Port of each emulator."""
        return {name: int(a.rpartition(":")[2]) for name, a in self.addresses.items()}


@contextmanager
def serve(
    truth: Truth,
    seed: int,
    base_port: int | None = None,
    host: str = "127.0.0.1",
    faults: Sequence[PlannedFault] = (),
    *,
    restarts: int = 0,
    clock_s: float = 0.0,
) -> Iterator[Served]:
    """Serve a simulated lab while the `with` block runs.

    Parameters
    ----------
    truth, seed, restarts, clock_s
        See `Lab`.
    base_port
        First of as many consecutive ports as there are emulators; free ones where not given.
    host
        Where to listen.
    faults
        What breaks in it, and when.

    Raises
    ------
    InstrumentError
        If a port is in use.
    """
    _compile()
    lab = (
        BrokenLab(truth, seed, faults, restarts=restarts, clock_s=clock_s)
        if faults
        else Lab(truth, seed, restarts=restarts, clock_s=clock_s)
    )
    addresses = {}
    with ExitStack() as running:
        for k, (name, emulator) in enumerate(_EMULATORS.items()):
            port = 0 if base_port is None else base_port + k
            served = emulator(lab, port, host)
            if isinstance(lab, BrokenLab):
                on_broken_wire(served, name, lab.defects)
            addresses[name] = running.enter_context(served).address
        yield Served(lab, addresses, truth)


def _compile() -> None:
    """Compile the kernels of the sampler, once per installation, before a client waits for tags.

    It uses another lab, because the served one must start with fresh random numbers.
    """
    for path in ("before", "interferometer"):
        lab = Lab(Truth(), seed=0)
        lab.select_path(path)
        for _ in lab.stream(1e-4):
            pass


def station_toml(served: Served) -> str:
    """Write the station file of a served lab.

    It has nominal values and certificates of the lab, as a real one would, not the true values.
    """
    a, source = served.addresses, served.nominal.source
    wavelength_m = repr(source.wavelength_m)
    v, analyser = served.nominal.transmitter.half_wave_V, served.nominal.analyser
    states = "\n".join(f"{name} = [{a * v!r}, {b * v!r}]" for name, (a, b) in HALF_WAVES.items())
    positions = ", ".join(f"{name} = {k}" for k, name in enumerate(PORTS, start=1))
    arms = ", ".join(f"{name} = {k}" for k, name in enumerate(ARMS, start=1))
    lowest_dB, highest_dB = ATTENUATION_RANGE_dB
    certificates = "\n".join(
        f"[calibrations.{c.name}]\n"
        f"value = {c.value!r}\n"
        f"u = {c.u!r}\n"
        f'unit = "{c.unit}"\n'
        f'certificate = "simulated lab {served.lab.serial}"\n'
        for c in served.lab.errors.calibrations
    )
    return f"""\
name = "simulated lab"
source = "simulated QD"
wavelength_m = {wavelength_m}
nominal_clock_Hz = {source.clock_Hz!r}

{certificates}
[links.anc]
driver = "qdchar.drivers.attocube_anc300:ANC300"
address = "{a["anc"]}"
# a real lab's password stays out of the file: password = "env:QDCHAR_ANC300_PW"
password = "{PASSWORD}"

[roles.cavity_fine]
driver = "qdchar.drivers.attocube_anc300:OffsetAxis"
link = "anc"
axis = {FINE_AXIS}
limits_V = [0.0, 60.0]
slew_V_per_s = 200.0
on_success = "hold"
on_error = "ramp_ground"
on_interrupt = "ramp_ground"

[roles.cavity_coarse]
driver = "qdchar.drivers.attocube_anc300:StepperAxis"
link = "anc"
axis = {STEPPER_AXIS}
frequency_Hz = 200
amplitude_V = 30.0
max_steps = 1000

[roles.pump_power]
driver = "qdchar.drivers.thorlabs_pm100:PM100"
address = "{a["pump_power"]}"
wavelength_m = {wavelength_m}

[roles.pump_attenuator]
driver = "qdchar.drivers.keysight_n776x:N776x"
address = "{a["pump_attenuator"]}"
wavelength_m = {wavelength_m}
limits_dB = [{lowest_dB!r}, {highest_dB!r}]
on_success = "hold"
on_error = "block"
on_interrupt = "block"

[roles.etalon_piezo]
driver = "qdchar.drivers.thorlabs_mdt69x:MDT69x"
address = "{a["etalon_piezo"]}"
limits_V = [0.0, 150.0]
slew_V_per_s = 1000.0
on_success = "hold"
on_error = "hold"
on_interrupt = "hold"

[roles.light_path]
driver = "qdchar.drivers.optical_switch:OpticalSwitch"
address = "{a["light_path"]}"
positions = {{ {positions} }}

[roles.interferometer_polarisation]
driver = "qdchar.drivers.optical_switch:OpticalSwitch"
address = "{a["light_path"]}"
slot = 2
positions = {{ {arms} }}

[roles.interferometer_phase]
driver = "qdchar.drivers.thorlabs_mdt69x:MDT69x"
address = "{a["interferometer_phase"]}"
limits_V = [0.0, 100.0]
slew_V_per_s = 1000.0

[roles.tagger]
driver = "qdchar.drivers.tag_stream:TagStream"
address = "{a["tagger"]}"

[roles.modulator]
driver = "qdchar.drivers.keysight_33500:Keysight33500"
address = "{a["modulator"]}"
limits_V = [-5.0, 5.0]

[roles.modulator.states]
{states}

[roles.analyser]
driver = "qdchar.drivers.elliptec_ell14:WavePlateAnalyser"
address = "{a["analyser"]}"
zeros_deg = [{analyser.quarter_zero_deg!r}, {analyser.half_zero_deg!r}]
"""
