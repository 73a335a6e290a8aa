"""Many records of one source in one table, to be taken into a notebook or a spreadsheet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import RecordError
from .files import PathLike, is_folder, is_there
from .record import SourceRecord, load_record

if TYPE_CHECKING:
    import pandas as pd

SINGLE = "measure.json"
"""File of a run folder that says which single measurement it is of, in place of a calibration."""

_OF_A_RUN = ("record.json", "run.jsonl")
"""Files by which a run folder is known."""

COLUMNS = (
    *("created", "source", "station", "simulated", "quantity", "value", "u", "unit"),
    *("low_68", "high_68", "low_95", "high_95", "plane", "method", "problems"),
    *("verdict", "rate_per_pulse", "rate_per_pulse_u", "objections"),
)


def load_history(
    folder: PathLike,
    skipped: Callable[[str], None] = warnings.warn,
    *,
    single: bool = False,
) -> list[SourceRecord]:
    """Read the records of all runs in a folder, oldest first, whatever speaks against them.

    The `objections` of each record say what that is: stale, a NO-GO, edited, ...

    Parameters
    ----------
    folder
        Holds run folders, each with its ``record.json``.
    skipped
        Told of each run whose record cannot be read, and why; the others are read nevertheless. A
        warning by default.
    single
        Whether to read the records of single measurements (``qdchar measure``), too, beside those
        of calibrations.

    Raises
    ------
    RecordError
        If there is no record that can be read.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise RecordError(f"{folder}: holds no runs with a record.json: there is no such folder")
    records = []
    faults = 0
    for run in sorted({f.parent for f in folder.glob("*/r*") if f.name in _OF_A_RUN}):
        if is_there(run / SINGLE) and not single:
            continue
        try:
            records.append(load_record(run / "record.json", accept=True))
        except (RecordError, OSError, ValueError) as error:
            faults += 1
            skipped(str(error))
    if not records:
        broken = f"; {faults} cannot be read" if faults else ""
        raise RecordError(f"{folder}: holds no runs with a record.json{broken}")
    return sorted(records, key=lambda record: record.created)


def history_table(records: Sequence[SourceRecord], names: Iterable[str] = ()) -> pd.DataFrame:
    """Put records into a tidy table.

    Parameters
    ----------
    records
        The rows come in their order.
    names
        Which quantities; all of each record where none is named.

    Returns
    -------
    pandas.DataFrame
        One row per record and quantity, with `COLUMNS`: `created` in UTC, values and standard
        uncertainties in `unit`, interval ends NaN where the record has no interval of its own,
        `problems` of the record joined by "; ", its verdict with the key rate behind it, and
        `objections` to its use, joined by "; ".

    Examples
    --------
    >>> table = history_table(load_history(Path("runs")))  # doctest: +SKIP
    >>> table.pivot(index="created", columns="quantity", values="value")  # doctest: +SKIP
    """
    import pandas as pd

    wanted = set(names)
    nothing = (float("nan"), float("nan"))
    rows = [
        (
            *(record.created, record.source, record.station, record.simulated),
            *(name, recorded.value, recorded.u, recorded.unit),
            *(recorded.interval_68 or nothing),
            *(recorded.interval_95 or nothing),
            *(recorded.plane, recorded.method, "; ".join(record.problems)),
            *_verdict(record),
            "; ".join(map(str, record.objections)),
        )
        for record in records
        for name, recorded in record.quantities.items()
        if not wanted or name in wanted
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def limits_text(record: SourceRecord) -> str:
    """Say which demands of the recipe a record does not keep; empty where nobody has judged it.

    Parameters
    ----------
    record
        With the verdict, which names the demands.
    """
    demands = () if record.verdict is None else record.verdict.demands
    if not demands:
        return ""
    others = [f"{d.state}: {d}" for d in demands if d.state != "kept"]
    return "; ".join(others) if others else f"all {len(demands)} kept"


def _verdict(record: SourceRecord) -> tuple[str, float, float]:
    if record.verdict is None:
        return "", float("nan"), float("nan")
    rate = record.verdict.rate
    if rate is None:
        return record.verdict.decision, float("nan"), float("nan")
    return record.verdict.decision, rate.rate_per_pulse, rate.rate_per_pulse_u
