"""What a plan will move, for how long, and how much lab time it will take: known before it starts.

The times come from the declarations of the measurements. Lab time is what instruments take: moves,
waits, counting. What a computer needs for the analyses comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qdchar import protocols
from qdchar.protocols.cavity import CavitySettings
from qdchar.roles import ROLES, Attenuator, VoltageAxis

from .measurement import COMMAND_S, MOVE_S, Measurement, Registry
from .recipe import Recipe
from .station import Station

LAST_LOOK = "last look"
"""Title of the step before the verdict."""

UNITS: Mapping[type | None, str] = {VoltageAxis: "V", Attenuator: "dB"}
"""Units of the roles that a measurement moves along a range."""

RAMP_S_PER_V = 4e-3
"""Lab time for the commands of a ramp [s/V]: two for each step of 0.5 V."""

RELOCK_COUNTS, RELOCK_MOVES = 9, 14
"""Countings and moves of a peak lock that converges at once: three times three points, each time
approached from below."""


@dataclass(frozen=True)
class Move:
    """Where a measurement moves an instrument.

    Attributes
    ----------
    role
        As in the station file.
    low, high
        Lowest and highest value [unit].
    unit
        ``V`` or ``dB``.
    how
        ``sweep`` over the whole range, or ``within``: a peak lock or the power monitor decides
        where, and `low` and `high` are the limits of the instrument.
    """

    role: str
    low: float
    high: float
    unit: str
    how: str


@dataclass(frozen=True)
class ExpectedStep:
    """One step of a plan.

    Attributes
    ----------
    name, title
        Of the measurement.
    moves
        Each instrument that it may move along a voltage or an attenuation.
    times_s
        Its settings that are times, by name [s].
    lab_s
        Expected lab time [s].
    """

    name: str
    title: str
    moves: tuple[Move, ...]
    times_s: Mapping[str, float]
    lab_s: float


def expected_steps(
    station: Station, registry: Registry, recipe: Recipe, names: Iterable[str]
) -> tuple[ExpectedStep, ...]:
    """Say what measurements will do, from their declarations; opens no instrument.

    Parameters
    ----------
    names
        The measurements, in order.
    """
    return tuple(_step(station, recipe, registry[name]) for name in names)


def last_look(recipe: Recipe) -> ExpectedStep:
    """Say what the look before the verdict will do."""
    look = protocols.last_look
    dark_s, light_s = look.DWELL_S, look.BEFORE_S + look.AFTER_S
    # of the laser, its power is set with about three corrections, and is then read
    readings_s = (5 + len(look.BESIDE_PI)) * protocols.pump.READINGS * COMMAND_S
    beside_s = len(look.BESIDE_PI) * look.BESIDE_PI_COUNTS * look.BESIDE_PI_S + look.LASER_S
    lab_s = relock_s(recipe) + readings_s + dark_s + light_s + beside_s + 4 * look.STATE_S
    return ExpectedStep("", LAST_LOOK, (), {"dark_s": dark_s, "light_s": light_s}, lab_s)


def relock_s(recipe: Recipe) -> float:
    """Return the lab time of a peak lock of the cavity that converges at once [s]."""
    dwell_s = recipe.table("cavity", CavitySettings).dwell_s
    return RELOCK_COUNTS * (dwell_s + COMMAND_S) + RELOCK_MOVES * MOVE_S


def _step(station: Station, recipe: Recipe, measurement: Measurement[Any]) -> ExpectedStep:
    settings = recipe.settings_of(measurement)
    moves = tuple(_moves(station, measurement, settings))
    lab_s = (
        measurement.dwell_s(settings, station.limits)
        + measurement.moves_s(settings, station.limits)
        + measurement.relocks(settings, station.limits) * relock_s(recipe)
        + measurement.sweeps * sum(_slew_s(station, move) for move in moves if move.how == "sweep")
    )
    times_s = {
        name: float(value) for name, value in settings.model_dump().items() if name.endswith("_s")
    }
    return ExpectedStep(measurement.name, measurement.title, moves, times_s, lab_s)


def _moves(station: Station, measurement: Measurement[Any], settings: Any) -> Iterator[Move]:
    for role in measurement.all_roles:
        kind = ROLES.get(role)
        if kind not in UNITS or role not in station.file.roles:
            continue
        limits = station.limits(role)
        sweep = measurement.ranges.get(role)
        low, high = limits if sweep is None else sweep(settings, limits)
        yield Move(role, low, high, UNITS[kind], "within" if sweep is None else "sweep")


def _slew_s(station: Station, move: Move) -> float:
    """Return the time for going through a range of voltages up and back [s]."""
    slew = (station.file.roles[move.role].model_extra or {}).get("slew_V_per_s")
    if slew is None:
        return 0.0
    return 2.0 * (move.high - move.low) * (1.0 / float(slew) + RAMP_S_PER_V)
