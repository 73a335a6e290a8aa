"""``qdchar keyrate --pass``: the key of a link that changes, read from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError

from ._many_numbers import is_number

if TYPE_CHECKING:
    from qdchar.keyrate.over_time import KeyOverTime

Floats = NDArray[np.float64]

_COLUMNS = ("time_s", "loss_dB", "background_Hz")


def read_pass(path: Path) -> tuple[Floats, Floats, Floats | None]:
    """Read times, losses and background counts, the last None where the file has no such column.

    Parameters
    ----------
    path
        CSV with the header ``time_s,loss_dB`` or ``time_s,loss_dB,background_Hz``.

    Raises
    ------
    UsageError
        The file cannot be read, lacks a column, or holds what is not a number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--pass {path}: cannot be read ({error})") from error
    rows = [row for row in csv.reader(lines) if row]
    header = [name.strip() for name in rows[0]] if rows else []
    if not {"time_s", "loss_dB"} <= set(header) <= set(_COLUMNS):
        raise UsageError(
            f"--pass {path}: the first line is {','.join(header)!r}; it must be "
            "time_s,loss_dB or time_s,loss_dB,background_Hz"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header) or not all(is_number(cell) for cell in row):
            raise UsageError(f"--pass {path}: row {number} is not {len(header)} numbers: {row}")
    table = np.array([[float(cell) for cell in row] for row in rows[1:]])
    table = table.reshape(-1, len(header))
    column = {name: table[:, i] for i, name in enumerate(header)}
    return column["time_s"], column["loss_dB"], column.get("background_Hz")


def pass_text(keys: list[KeyOverTime]) -> str:
    """Key of a pass with the source at its best estimates, and at its limits where it has any."""
    first = keys[0]
    lines = [f"{first.protocol}, accounting {first.accounting}"]
    for key in keys:
        if key.eps_source is None:
            lines.append("Source at its best estimates")
        else:
            lines.append(f"Source at limits exceeded with probability {key.eps_source:.2g}")
        lines += [
            f"  secret key    {key.key_length:.0f} bit from {key.start_s:g} s to {key.stop_s:g} s, "
            f"the best start and stop ({key.key_length_of_all:.0f} bit from all of it)",
            f"  settings      p_z {key.p_z:.4f}, pre-attenuation {key.attenuation:.3f}",
            f"  QBER          {100 * key.qber:.3f} %; phase error {100 * key.phase_error:.2f} % "
            "at most",
        ]
    return "\n".join([*lines, "", "What the key assumes", *(f"  {s}" for s in first.assumptions)])
