"""The source of a prediction: a record, or ``--source`` with a few numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from ._many_numbers import is_number
from ._records import record_to_use

if TYPE_CHECKING:
    from qdchar.keyrate import SourceFigures
    from qdchar.link import Link


source_option = click.option(
    "--source",
    metavar="n=0.292,g2=0.00698",
    help="<n> and g2 instead of a record; also n_u, g2_u (standard uncertainties), clock (Hz).",
)
link_option = click.option(
    "--link", "link_file", type=click.Path(path_type=Path), help="Link file; default the paper's."
)


def given_source_and_link(
    record: Path | None, text: str | None, link_file: Path | None, accept: bool
) -> tuple[SourceFigures | None, Link]:
    """Return the source of a record or of a ``--source`` text, and the link to predict on.

    The source is None where neither is given; a misalignment that the record holds takes the place
    of the link's. What speaks against the record is an error unless that is accepted.
    """
    from qdchar.keyrate import source_and_link
    from qdchar.link import load_link

    if record is not None and text is not None:
        raise UsageError("give a record or --source, not both")
    if accept and record is None:
        raise UsageError("--accept is about a record; give one, or leave it out")
    link = load_link(link_file)
    if record is not None:
        return source_and_link(record_to_use(record, accept), link)
    return None if text is None else _from_text(text), link


def _from_text(text: str) -> SourceFigures:
    from qdchar.keyrate import SourceFigures

    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name.strip() not in ("n", "g2", "n_u", "g2_u", "clock") or not equals:
            raise UsageError(
                f"--source: {part!r} is not understood; give n=..., g2=... and perhaps n_u=..., "
                "g2_u=..., clock=... (Hz), separated by commas"
            )
        if not is_number(value):
            raise UsageError(f"--source: {value!r} is not a number for {name}")
        given[name.strip()] = float(value)
    if not {"n", "g2"} <= given.keys():
        raise UsageError("--source: needs both n=... and g2=...")
    return SourceFigures.from_values(
        given["n"],
        given["g2"],
        n_u=given.get("n_u", 0.0),
        g2_u=given.get("g2_u", 0.0),
        clock_rate_hz=given.get("clock", SourceFigures().clock_rate.value),
    )
