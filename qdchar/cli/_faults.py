"""Faults of the simulated lab on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

if TYPE_CHECKING:
    from qdchar.drivers.twin.broken_lab import PlannedFault
    from qdchar.lab.display import Display
    from qdchar.lab.simulated import SimulatedLab


def list_asked(faults: Sequence[str], json_line: bool) -> bool:
    """Print the table of faults if that is what was asked for."""
    if "list" not in faults:
        return False
    from qdchar.drivers.twin.faults import FAULTS

    if json_line:
        table = [
            {"name": f.name, "group": f.group, "description": f.description, "size": f.size}
            for f in FAULTS.values()
        ]
        click.echo(json.dumps({"faults": table}))
        return True
    group = ""
    for fault in FAULTS.values():
        if fault.group != group:
            group = fault.group
            click.echo(group)
        click.echo(f"  {fault.name:<26} {fault.description} ({fault.size})")
    return True


def planned(faults: Sequence[str]) -> list[PlannedFault]:
    """Read faults as ``--fault`` takes them.

    Raises
    ------
    UsageError
        If one cannot be read, or begins with a measurement that is not known.
    """
    from qdchar.drivers.twin.faults import planned_fault

    plans = [planned_fault(text) for text in faults]
    if not any(plan.measurement for plan in plans):
        return plans  # a simulated lab starts without the measurements and their analyses
    from qdchar.lab.measurements.registry import MEASUREMENTS

    for plan in plans:
        if plan.measurement and plan.measurement not in (*MEASUREMENTS, "last_look"):
            raise UsageError(
                f"--fault {plan.fault.name}@{plan.measurement}: no such measurement; there are "
                f"{', '.join(MEASUREMENTS)}, last_look"
            )
    return plans


def announcer(lab: SimulatedLab, display: Display) -> Callable[[str], None]:
    """Tell the lab which measurement begins, and the operator which faults begin with it."""

    def begin(measurement: str) -> None:
        for fault in lab.begin_measurement(measurement):
            display.say(f"    FAULT of the simulated lab begins: {fault}")

    return begin
