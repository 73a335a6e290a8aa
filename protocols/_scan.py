"""The scan loop that the protocols share.

A protocol says how one point is measured: what is set, and what is counted there. The loop takes
the values one after the other, writes each point to disk at once, and reports it to the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError
from qdchar.notation import prefixed
from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings
from qdchar.roles import Counts, TimeTagger

MeasurePoint: TypeAlias = Callable[[float], tuple[float, Counts]]
"""Sets a value; returns the abscissa of the point and the clicks that were counted there."""


def scan_about(
    protocol: str, path: str, tagger: TimeTagger, settings: Settings, **further: float | str
) -> About:
    """Describe a scan: where the light came from, and every setting that the protocol was given.

    Parameters
    ----------
    protocol
        Stem of the protocol's module.
    path
        Position of the light path.
    further
        What else the analysis or a reader has to know.
    """
    plain = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    return About(
        protocol=protocol,
        path=path,
        simulated=tagger.identify().simulated,
        settings={**plain, **further},
    )


class ScanLoop:
    """An open scan: measures points, writes each to disk at once, and reports the progress.

    Parameters
    ----------
    file
        CSV file to write; it must not exist yet.
    x_name
        Name of the abscissa with its unit, see `qdchar.raw_data.Scan`.
    points
        How many points the whole scan will have.

    Examples
    --------
    >>> with ScanLoop(file, "voltage_V", about, len(voltages), progress) as loop:  # doctest: +SKIP
    ...     loop.measure(voltages, measure_point)
    >>> scan = loop.scan()  # doctest: +SKIP
    """

    def __init__(
        self, file: Path, x_name: str, about: About, points: int, progress: Progress
    ) -> None:
        self._writer = ScanWriter(file, x_name, about)
        self._path, self._unit = about.path, x_name.rpartition("_")[2]
        self._points, self._progress, self._done = points, progress, 0

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.__exit__()

    def measure(self, values: Iterable[float], measure_point: MeasurePoint) -> None:
        """Measure a point at each value, in the order given.

        A scan may be measured in several parts, for example with a re-lock before each.
        """
        for value in values:
            x, counts = measure_point(float(value))
            self._writer.add(x, counts)
            self._done += 1
            scale, unit = prefixed(x, self._unit)
            self._progress(
                self._done,
                self._points,
                f"{self._path}: {x / scale:.4g} {unit}, {1e-6 * total_rate(counts):.3g} Mcps",
            )

    def scan(self) -> Scan:
        """Return the points measured so far."""
        return self._writer.scan()


def total_rate(counts: Counts) -> float:
    """Return the click rate of both detectors together [1/s]."""
    return sum(counts.clicks) / counts.dwell_s


def sweep_limits(
    name: str, start: float | None, stop: float | None, limits: tuple[float, float]
) -> tuple[float, float]:
    """Return the range of an upward sweep: the limits of the axis where no end is given.

    Parameters
    ----------
    name
        Name of the recipe table, for the error.

    Raises
    ------
    UsageError
        If the sweep would not go upward.
    """
    first = limits[0] if start is None else start
    last = limits[1] if stop is None else stop
    if first > last:
        raise UsageError(
            f"{name}: the sweep goes upward, but it was asked to start at {first:g} V and to stop "
            f"at {last:g} V (limits of the axis: {limits[0]:g} to {limits[1]:g} V); choose "
            f"{name}.start_V below {name}.stop_V"
        )
    return first, last


def sweep_voltages(start_V: float, stop_V: float, step_V: float) -> NDArray[np.float64]:
    """Return the voltages of an upward sweep [V]; `stop_V` is included where a step meets it."""
    return np.arange(start_V, stop_V + 1e-9, step_V)
