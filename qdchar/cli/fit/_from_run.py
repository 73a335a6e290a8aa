"""What an analysis is given from the run folder in which its file lies, and what by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from qdchar.estimate import Estimate
    from qdchar.lab.run_inputs import RunInputs
    from qdchar.raw_data import Scan, Settings, TagRun

    S = TypeVar("S", bound=Settings)


def by_hand(*parameters: str) -> bool:
    """Whether one of these parameters of the command was given, rather than left as it is."""
    context = click.get_current_context()
    hand = click.core.ParameterSource.COMMANDLINE
    return any(context.get_parameter_source(name) is hand for name in parameters)


def inputs_from_run(
    file: Path, given: Mapping[str, Estimate | None], dead_pulses: float | None = None
) -> RunInputs | None:
    """Return what the run knew in whose folder a file lies; None if it lies in none.

    Parameters
    ----------
    given
        Quantities and certificates that were given by hand, by name; None for those that were not.
    dead_pulses
        Where it was given by hand.
    """
    from qdchar.lab.run_inputs import RunInputs, run_folder_of

    folder = run_folder_of(file)
    if folder is None:
        return None
    hand = {name: estimate for name, estimate in given.items() if estimate is not None}
    return RunInputs(folder, file, hand, dead_pulses)


def plain(name: str, value: float) -> Estimate:
    """Return a number without uncertainty that was given on the command line."""
    from qdchar.estimate import Estimate

    return Estimate(name=name, value=value, method="given on the command line")


def settings_of_scan(scan: Scan, kind: type[S]) -> S:
    """Return the settings with which a scan was measured, as far as it holds them."""
    known = {k: v for k, v in scan.about.settings.items() if k in kind.model_fields}
    return kind.model_validate(known)


def recording(file: Path) -> TagRun | None:
    """Return a file of time tags as the recording that it is; None if it does not say."""
    from qdchar.analysis.detection.pulsed_run import wired_run
    from qdchar.tags import open_tags
    from qdchar.tags.formats.delay_histogram import is_histogram

    return None if is_histogram(file) else wired_run(file, open_tags(file))


def note(text: str) -> None:
    """Say where an input is from that is no quantity."""
    click.echo(f"from the run: {text}")


def say_inputs(inputs: RunInputs | None) -> None:
    """Say each quantity and certificate that was used, and where it is from."""
    from qdchar.notation import text

    if inputs is None:
        return
    for estimate, place in inputs.used.values():
        click.echo(f"{estimate.quantity.words} {text(estimate)} {place}")


def inputs_json(inputs: RunInputs | None) -> dict[str, dict[str, object]]:
    """Return the same for ``--json``, by name."""
    if inputs is None:
        return {}
    return {
        name: {"value": e.value, "u": e.u, "unit": e.unit, "from": place}
        for name, (e, place) in inputs.used.items()
    }
