"""The station file of the simulated lab: commented, and a start for a lab's own.

Its addresses are ``"simulated:NAME"``, so that it can be used again: the lab starts and ends with
the station. A real instrument takes the place of a simulated one where its address stands there.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Sequence

from qdchar.errors import UsageError
from qdchar.quantities import quantity

from .station import Station
from .station_file import SIMULATED, StationFile

_LINE = 98

_HEAD = """\
The lab: its instruments, their limits and their certificates. SI units.

Every instrument here is one of the simulated lab, because its address is "simulated:NAME".
Put your own in one by one: replace `address` by yours ("tcp://10.0.0.5:7230"), and `driver` by
another one of qdchar.drivers, or by "my_file:MyClass" for a class in my_file.py beside this file.
`qdchar check --station THIS_FILE` says who answers, and what can be measured; it moves nothing."""

_SIMULATED_LAB = """\
The simulated lab behind the addresses "simulated:NAME". It starts and ends with each command.
`settings` changes what is true in it; `qdchar twin --truth` prints that. Delete this table when
no address is simulated any more."""

_CALIBRATIONS = """\
Certificates: what is known beforehand, with standard uncertainties `u`. These belong to the
simulated lab of the seed above. Replace them by yours; leave out what you do not have: `qdchar
check` then says what cannot be measured, and the handbook what is assumed."""

_LINKS = "Controllers that several roles share."

_ROLES = """\
Instruments by role. `on_success`, `on_error` and `on_interrupt` say how one is left: "hold"
leaves its output as it is; "ramp_ground", "block" and "make_safe" bring it to its safe state. The
other keys belong to the driver. Set `limits_V` and `limits_dB` for your hardware before you
connect it."""

ROLE_WORDS = {
    "cavity_fine": "Voltage of the fine piezo that tunes the cavity.",
    "cavity_coarse": "Stepper of the cavity's coarse axis.",
    "pump_power": "Meter of the pump power, behind a tap.",
    "pump_attenuator": "Attenuator of the pump, with its shutter; its safe state is a closed one.",
    "etalon_piezo": "Voltage of the piezo that tunes the transmitter's etalon.",
    "light_path": "Switch that selects which light reaches the detectors.",
    "interferometer_polarisation": "Switch of the polarisation in the interferometer's arms. "
    "Optional: for the indistinguishability.",
    "interferometer_phase": "Voltage of the phase piezo of the unbalanced interferometer. "
    "Optional: for phase randomisation and indistinguishability.",
    "tagger": "Time tagger with both detectors and the divided pulse clock.",
    "modulator": "Modulator that sets the polarisation that is sent. Optional: without it and the "
    "analyser, the misalignment is the link file's.",
    "analyser": "Wave plates and a polarising beam splitter in front of the detectors. Optional.",
}
"""What each role is for, in words; `qdchar.roles` has the methods."""


def settings_from_text(settings: Sequence[str]) -> dict[str, str]:
    """Split ``KEY=VALUE``. Raises UsageError."""
    parsed: dict[str, str] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: give KEY=VALUE, e.g. source.g2=0.05")
        if key.strip() in parsed:
            raise UsageError(f"--set {key.strip()} is given twice")
        parsed[key.strip()] = value.strip()
    return parsed


def simulated_station_text(seed: int, settings: Sequence[str] = ()) -> str:
    """Write the commented station file of a simulated lab.

    Parameters
    ----------
    seed
        Everything random in the lab follows from it, the errors of its certificates included.
    settings
        ``KEY=VALUE`` of its true parameters.

    Raises
    ------
    UsageError
        If the seed is negative, or a setting is unknown or not possible.
    """
    from qdchar.drivers.twin.lab import Lab
    from qdchar.drivers.twin.serve import INSTRUMENTS, Served, station_toml
    from qdchar.drivers.twin.truth import Truth

    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is an integer of 0 or more")
    truth = Truth.from_settings(settings_from_text(settings), ideal=False)
    addresses = {name: f"{SIMULATED}{name}" for name in INSTRUMENTS}
    text = station_toml(Served(Lab(truth, seed), addresses, truth))
    listed = "".join(f"\n    {json.dumps(s)}," for s in settings)
    table = f"[simulated_lab]\nseed = {seed}\nsettings = [{listed}{chr(10) if listed else ''}]\n\n"
    first = text.index("[")
    first = text.index("\n[") + 1 if text[first - 1] != "\n" else first
    return "\n".join(_annotated(text[:first] + table + text[first:])) + "\n"


def simulated_station(
    seed: int, settings: Sequence[str] = (), say: Callable[[str], None] = print
) -> Station:
    """Return the station of a simulated lab, which starts and ends with it.

    Parameters
    ----------
    seed, settings
        As for `simulated_station_text`.
    say
        As for `Station`.
    """
    file = StationFile.model_validate(tomllib.loads(simulated_station_text(seed, settings)))
    return Station(file, "simulated lab", say)


def _annotated(text: str) -> Iterator[str]:
    """Put comments before the tables."""
    yield from _comment(_HEAD)
    sections = {
        "[simulated_lab": _SIMULATED_LAB,
        "[calibrations.": _CALIBRATIONS,
        "[links.": _LINKS,
        "[roles.": _ROLES,
    }
    for line in text.splitlines():
        for start in [s for s in sections if line.startswith(s)]:
            yield from _comment(sections.pop(start))
            if not start.startswith("[simulated_lab"):
                yield ""
        name = line.strip("[]").partition(".")[2]
        if line.startswith("[calibrations."):
            yield from _comment(quantity(name).definition)
        elif line.startswith("[roles.") and name in ROLE_WORDS:
            yield from _comment(ROLE_WORDS[name])
        yield line


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, _LINE) or [""]:
            yield f"# {line}".rstrip()
