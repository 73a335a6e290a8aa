"""``qdchar convert IN OUT``: the same time tags in another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._options import DURATION_s, as_json
from ._outputs import refuse_output

if TYPE_CHECKING:
    from qdchar.tags import TagSource


_MOST_STEPS = 1 << 15
"""Steps after the sync that a T3 record can hold."""


def refuse_loss(tags: TagSource, suffix: str, mode: str | None) -> None:
    """Refuse to write into a format that cannot hold what the file tells.

    Raises
    ------
    UsageError
        If nanotimes could not be read as times, or their step or the pulse clock would be lost.
    """
    from qdchar.errors import UsageError

    unused = [w for w in tags.warnings if w.startswith("nanotimes are not used")]
    if unused:
        raise UsageError(f"{unused[0]}; converted, the file would have lost them")
    period_ps, step_ps = tags.metadata.sync_period_ps, tags.resolution_ps
    if suffix != ".ptu" or period_ps is None or mode == "T2":
        return
    if abs(step_ps - round(step_ps)) > 1e-6 or period_ps / step_ps > _MOST_STEPS:
        raise UsageError(
            f"T3 of a PTU file holds at most {_MOST_STEPS} steps of whole picoseconds after the "
            f"sync; here a period of {period_ps:g} ps has steps of {step_ps:g} ps, which would be "
            "rounded. Write .h5, or --mode T2"
        )


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["T2", "T3"]),
    help="PTU: absolute times, or sync count and time after it; T3 where IN is T3.",
)
@click.option(
    "--kind",
    type=click.Choice(["HydraHarp2", "Generic", "TimeHarp 260P"]),
    default="HydraHarp2",
    show_default=True,
    help="PTU: layout of the records.",
)
@click.option(
    "--sync-period", type=DURATION_s, help="PTU T3: sync period in seconds, if IN has none."
)
@as_json
def convert(
    source: Path,
    target: Path,
    mode: str | None,
    kind: str,
    sync_period: float | None,
    json_line: bool,
) -> int:
    """Write the time tags of IN to OUT: .ptu (PicoQuant) or .h5/.hdf5 (Photon-HDF5).

    Times stay exact, except that T3 keeps whole steps after the sync.
    """
    from qdchar.errors import UsageError
    from qdchar.tags import open_tags
    from qdchar.tags.convert import write_hdf5
    from qdchar.tags.formats.ptu_writer import write_ptu

    refuse_output("OUT", target, new=True)
    tags = open_tags(source)
    suffix = target.suffix.lower()
    refuse_loss(tags, suffix, mode)
    if suffix == ".ptu":
        is_t3 = mode == "T3" if mode else tags.metadata.sync_period_ps is not None
        write_ptu(
            target,
            tags,
            mode="T3" if is_t3 else "T2",
            kind=kind,
            sync_period_ps=None if sync_period is None else sync_period * 1e12,
        )
    elif suffix in (".h5", ".hdf5"):
        write_hdf5(target, tags)
    else:
        raise UsageError(f"{target}: the ending of OUT selects the format; give .ptu, .h5 or .hdf5")
    written = open_tags(target)
    clicks = sum(len(chunk) for chunk in written.chunks())
    for warning in (*tags.warnings, *written.warnings):
        click.echo(f"warning     {warning}")
    click.echo(f"{clicks:,} clicks over {written.duration_s:.6f} s written to {target}")
    if json_line:
        line = {
            "exit_code": 0,
            "file": str(target),
            "clicks": clicks,
            "duration_s": written.duration_s,
            "warnings": tags.warnings,
        }
        click.echo(json.dumps(line))
    return 0
