"""Nanotimes of a TCSPC card in a Photon-HDF5 file: the time of a click after its laser pulse.

Such a file counts pulses in ``timestamps`` (macro time) and stores the time after the pulse in
``nanotimes``, in units of ``nanotimes_specs/tcspc_unit``. Where the macro time counts another clock
than the pulses, the two do not add up to a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError

from .photon_hdf5_items import number_of, row_of

_MAX_DIFFERENCE = 0.01
"""Largest relative difference of macro time and laser period that are the same clock."""


@dataclass(frozen=True)
class Nanotimes:
    """How macro time and nanotime make up the time of a click.

    Attributes
    ----------
    period_ps
        Macro time unit, which is the pulse period [ps].
    step_ps
        Unit of the nanotimes [ps].
    """

    period_ps: float
    step_ps: float

    def times(
        self, macro: NDArray[np.integer[Any]], nano: NDArray[np.integer[Any]]
    ) -> NDArray[np.int64]:
        """Return the times of clicks, shape (n,) [ps].

        The pulse is rounded up to a whole picosecond, so that folding by the same period never
        throws a click at the very beginning of a pulse into the one before.
        """
        whole = math.floor(self.period_ps)
        counts: NDArray[np.int64] = macro.astype(np.int64)
        rest: NDArray[np.int64] = np.ceil(counts * (self.period_ps - whole)).astype(np.int64)
        after: NDArray[np.int64] = np.rint(nano.astype(np.float64) * self.step_ps).astype(np.int64)
        return counts * whole + rest + after


def read_nanotimes(path: Path, file: h5py.File, unit_ps: float) -> tuple[Nanotimes | None, str]:
    """Return how to use the nanotimes of a file, None without; and a warning if they are not used.

    Parameters
    ----------
    path, file
        The file, and opened.
    unit_ps
        Macro time unit [ps].

    Raises
    ------
    RecordError
        If the nanotimes have no unit, or are not one row of integers as long as the timestamps.
    """
    data = file["photon_data"]
    if "nanotimes" not in data:
        return None, ""
    nanotimes = row_of(data, "nanotimes")
    if len(nanotimes) != len(data["timestamps"]):
        raise RecordError(
            f"{path}: {len(nanotimes)} nanotimes for {len(data['timestamps'])} timestamps"
        )
    if "tcspc_unit" not in data.get("nanotimes_specs", {}):
        raise RecordError(f"{path}: nanotimes without their unit, nanotimes_specs/tcspc_unit")
    step_ps = number_of(data, "nanotimes_specs/tcspc_unit") * 1e12
    if not 1e-3 <= step_ps < unit_ps:
        raise RecordError(f"{path}: tcspc_unit of {step_ps:g} ps, timestamps_unit {unit_ps:g} ps")
    period_ps, rate = unit_ps, "measurement_specs/laser_repetition_rate"
    if rate in data:
        rate_Hz = number_of(data, rate)
        if not 1.0 <= rate_Hz <= 1e12:
            raise RecordError(f"{path}: laser_repetition_rate of {rate_Hz:g} Hz")
        period_ps = 1e12 / rate_Hz
    if abs(period_ps / unit_ps - 1.0) > _MAX_DIFFERENCE:
        return None, (
            f"nanotimes are not used: the macro time counts {unit_ps / 1e3:g} ns, the laser's "
            f"period is {period_ps / 1e3:.6g} ns, so that the two times do not add up"
        )
    longest = max((int(n.max()) for n in _blocks(nanotimes)), default=0)
    if longest * step_ps >= unit_ps:
        return None, (
            f"nanotimes are not used: they reach {longest * step_ps / 1e3:.6g} ns, beyond the "
            f"macro time unit of {unit_ps / 1e3:g} ns, which is therefore not the pulse period"
        )
    return Nanotimes(unit_ps, step_ps), ""


def _blocks(nanotimes: h5py.Dataset) -> Iterator[NDArray[np.integer[Any]]]:
    size = 1 << 22
    for k in range(0, len(nanotimes), size):
        yield nanotimes[k : k + size]
