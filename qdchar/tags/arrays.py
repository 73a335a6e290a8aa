"""Time tags from numpy arrays: seconds, or whole ticks of a named length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from .source import TagArrays

_LARGEST_ROUNDING_S = 0.5e-12
"""A time in seconds as float64 is rounded by up to half a spacing: more than this from 8192 s."""
_FS_PER_PS = 1000


def from_arrays(
    times: ArrayLike, channels: ArrayLike, *, resolution_s: float | None = None
) -> TagArrays:
    """Make a source of time tags from arrays.

    Parameters
    ----------
    times
        Shape (n,), in time order. Floating point: seconds [s]. Integers: ticks of `resolution_s`.
    channels
        Channel number of each tag, shape (n,), 0 to 255.
    resolution_s
        Length of a tick [s], e.g. 1e-12; needed with integer times. With seconds: the step of the
        tagger, 1 ps if not given.

    Returns
    -------
    TagArrays
        The tags, in whole picoseconds.

    Raises
    ------
    UsageError
        If integer times come without `resolution_s`, the resolution is not possible, or times in
        seconds are so large that they have lost the picosecond.
    RecordError
        If the arrays differ in length, or the times are not sorted.

    Examples
    --------
    >>> tags = from_arrays([0, 250, 1000], [0, 1, 0], resolution_s=4e-12)
    >>> tags.duration_s
    4.001e-09
    >>> from_arrays([0.0, 1e-9, 4e-9], [0, 1, 0]).duration_s
    4.001e-09
    """
    given = np.asarray(times)
    if resolution_s is not None and not 1e-15 <= resolution_s <= 1e-3:
        raise UsageError(
            f"resolution_s is {resolution_s:g} s: the length of a tick from 1e-15 to 1e-3 s is "
            "possible"
        )
    if np.issubdtype(given.dtype, np.integer):
        if resolution_s is None:
            raise UsageError(
                "integer times are ticks: name the length of a tick, e.g. resolution_s=1e-12; "
                "times in seconds are floating point"
            )
        times_ps = _ticks_to_ps(given.astype(np.int64), resolution_s)
    else:
        times_ps = _seconds_to_ps(given.astype(np.float64))
    step_ps = 1.0 if resolution_s is None else resolution_s * 1e12
    return TagArrays(times_ps, _numbers(channels), resolution_ps=step_ps)


def _ticks_to_ps(ticks: np.ndarray, resolution_s: float) -> np.ndarray:
    """Convert without floating point where a tick is a whole number of femtoseconds."""
    fs = round(resolution_s * 1e15)
    largest = int(np.abs(ticks).max(initial=0))
    if abs(fs - resolution_s * 1e15) > 1e-6 * fs:
        raise UsageError(
            f"resolution_s is {resolution_s!r} s, which is no whole number of femtoseconds: "
            "convert the times to ticks of one picosecond first"
        )
    if largest * fs >= 1 << 62:
        raise UsageError(
            f"times up to {largest * resolution_s:.3g} s are too long in ticks of "
            f"{resolution_s:g} s: subtract the time of the first tag first"
        )
    return np.asarray((ticks * fs) // _FS_PER_PS)


def _seconds_to_ps(seconds: np.ndarray) -> np.ndarray:
    if not np.all(np.isfinite(seconds)):
        raise UsageError("a time is not a finite number; leave such tags out")
    largest_s = float(np.abs(seconds).max(initial=0.0))
    if np.spacing(largest_s) / 2.0 > _LARGEST_ROUNDING_S:
        raise UsageError(
            f"times in seconds up to {largest_s:.3g} s have lost the picosecond in float64: give "
            "integer ticks with resolution_s, or subtract the time of the first tag before "
            "converting to seconds"
        )
    return np.rint(seconds * 1e12).astype(np.int64)


def _numbers(channels: ArrayLike) -> np.ndarray:
    numbers = np.asarray(channels)
    whole = np.issubdtype(numbers.dtype, np.integer)
    if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() <= 255):
        raise UsageError("channels are whole numbers from 0 to 255, one for each time")
    return numbers
