"""Options that several analyses take, and what is given with them as estimates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from qdchar.errors import UsageError

from .._options import PATH, Within
from ._from_run import by_hand, inputs_from_run, plain

if TYPE_CHECKING:
    from qdchar.estimate import Contribution, Estimate, Uncertain
    from qdchar.lab.run_inputs import RunInputs

F = TypeVar("F", bound=Callable[..., object])

CHANNEL = click.IntRange(min=0, max=65_535)
figure_option = click.option(
    "--figure", type=PATH, help="Draw data, fit and residuals to this file."
)
channels_option = click.option(
    "--channels",
    type=(CHANNEL, CHANNEL),
    help="Channels of the two detectors.",
)
clock_option = click.option(
    "--clock",
    "clock_Hz",
    type=Within(min=1.0, max=1e12),
    default=76.13e6,
    show_default=True,
    help="Pulse rate [Hz].",
)
dead_pulses_option = click.option(
    "--lost-pulses",
    "dead_pulses",
    type=Within(min=0),
    default=0,
    show_default=True,
    help="Pulses for which a detector is dead after a click, divided by the source's on-fraction.",
)
dark_option = click.option(
    "--dark", type=Within(min=0), default=0.0, show_default=True, help="Dark count rate [Hz]."
)
_gain_option = click.option(
    "--gain",
    type=(Within(min=1e-6, max=1e6), Within(min=0, max=1e6)),
    default=(1.0, 0.0),
    help="Power meter's gain (true power over reading) and its u.",
)
_noise_option = click.option(
    "--noise",
    type=Within(min=0, max=1),
    default=0.005,
    show_default=True,
    help="Relative u of one power reading.",
)


@dataclass(frozen=True)
class PowerScanOptions:
    """What a scan over pump power is analysed with, as given on the command line or left as is."""

    clock_Hz: float
    dead_pulses: float
    gain: Estimate
    noise: float
    dark_Hz: float

    def arguments(self) -> dict[str, object]:
        """Return the keyword arguments of the analysis of a file from elsewhere."""
        return {
            "clock_rate_Hz": self.clock_Hz,
            "dead_pulses": self.dead_pulses,
            "power_gain": self.gain,
            "reading_u_rel": self.noise,
            "dark_count_rate_Hz": self.dark_Hz,
        }

    def inputs(self, file: Path) -> RunInputs | None:
        """Return what the run knew in whose folder the file lies, with what was given by hand."""
        return inputs_from_run(
            file,
            {
                "clock_rate": plain("clock_rate", self.clock_Hz) if by_hand("clock_Hz") else None,
                "power_meter_gain": self.gain if by_hand("gain") else None,
                "dark_count_rate": plain("dark_count_rate", self.dark_Hz)
                if by_hand("dark")
                else None,
            },
            dead_pulses_by_hand(self.dead_pulses),
        )


def dead_pulses_by_hand(value: float) -> float | None:
    """Return the dead pulses if they were given on the command line, and say so; None otherwise."""
    if not by_hand("dead_pulses"):
        return None
    click.echo(f"{value:g} pulses lost after a click, given on the command line")
    return value


def power_scan_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a scan of counts against pump power.

    The command gets them as `power_scan`, a `PowerScanOptions`.
    """

    @functools.wraps(command)
    def with_power_scan(
        *,
        clock_Hz: float,
        dead_pulses: float,
        gain: tuple[float, float],
        noise: float,
        dark: float,
        **others: object,
    ) -> int:
        power_gain = given("--gain", "power_meter_gain", gain)
        power_scan = PowerScanOptions(clock_Hz, dead_pulses, power_gain, noise, dark)
        return command(power_scan=power_scan, **others)

    options = (clock_option, dead_pulses_option, _gain_option, _noise_option, dark_option)
    for option in reversed(options):
        with_power_scan = option(with_power_scan)
    return with_power_scan


_column_option = click.option(
    "--column", help="Column with the counts, by its name or its number counted from 1."
)
_curve_option = click.option(
    "--curve", type=int, help="Curve of a PicoQuant export, by the number displayed there."
)
_unit_option = click.option("--unit", help="Unit of the times where no header names it: ps, ns.")


def histogram_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options for what a histogram written as text leaves open.

    The command gets them as `choice`, a `CurveChoice`.
    """

    @functools.wraps(command)
    def with_choice(
        *, column: str | None, curve: int | None, unit: str | None, **others: object
    ) -> int:
        from qdchar.tags.formats.delay_histogram import CurveChoice

        return command(choice=CurveChoice(column, curve, unit), **others)

    for option in (_unit_option, _curve_option, _column_option):
        with_choice = option(with_choice)
    return with_choice


def given(option: str, name: str, value_and_u: tuple[float, float]) -> Estimate:
    """Return a known quantity as it was given on the command line.

    Raises
    ------
    UsageError
        If a number is not finite, or the uncertainty is negative.
    """
    from qdchar.estimate import Estimate

    value, budget = _checked(option, name, value_and_u)
    return Estimate(name=name, value=value, method="given on the command line", budget=budget)


def given_uncertain(option: str, name: str, value_and_u: tuple[float, float]) -> Uncertain:
    """Return a value that is none of the known quantities as it was given on the command line.

    Raises
    ------
    UsageError
        If a number is not finite, or the uncertainty is negative.
    """
    from qdchar.estimate import Uncertain

    return Uncertain(*_checked(option, name, value_and_u))


def _checked(
    option: str, name: str, value_and_u: tuple[float, float]
) -> tuple[float, tuple[Contribution, ...]]:
    import math

    from qdchar.estimate import Contribution

    value, u = value_and_u
    if not (math.isfinite(value) and 0 <= u < math.inf):
        raise UsageError(
            f"{option} {value:g} {u:g}: give a finite value and its standard uncertainty, which is "
            "0 or more"
        )
    return value, (Contribution(f"calibration {name}", u, "B", 1.0),) if u else ()
