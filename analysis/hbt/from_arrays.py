"""g2(0) from time tags in arrays; `analyse` takes these as well as a run of a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from numpy.typing import ArrayLike

from qdchar.errors import UsageError
from qdchar.estimate import Estimate, Uncertain
from qdchar.fit import Result
from qdchar.raw_data import TagRun
from qdchar.tags.arrays import from_arrays

from . import g2_live_gated

_NAME = Path("arrays")
"""What stands for a file's name in labels and messages."""


@overload
def analyse(
    run: TagRun,
    /,
    *,
    name: str = "g2_zero_source",
    plane: str = "fibre",
    dark_count_rate: Estimate | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
    detuning_correction: Estimate | None = None,
    delay_s: float | None = None,
) -> Result: ...
@overload
def analyse(
    times: ArrayLike,
    channels: ArrayLike,
    /,
    *,
    resolution_s: float | None = None,
    detectors: tuple[int, int] | None = None,
    delay_s: float | None = None,
    period_s: float | None = None,
    window_s: float | None = None,
    range_s: float | None = None,
) -> Result: ...
def analyse(tags: Any, channels: Any = None, /, **options: Any) -> Result:
    """Find g2(0) of a pulsed source, from a run with a pulse clock or from arrays of time tags.

    Parameters
    ----------
    tags
        A `qdchar.raw_data.TagRun`, analysed by live gating; or the times of tags, shape (n,), in
        order: seconds as floating point [s], or ticks as integers. A file is for `analyse_file`.
    channels
        With times: the channel of each tag, shape (n,).
    **options
        For a run, those of `qdchar.analysis.hbt.g2_live_gated.analyse`: ``name``, ``plane``,
        ``dark_count_rate``, ``background_rates``, ``detuning_correction``, ``delay_s``. For arrays
        ``resolution_s``, the length of a tick [s], needed for integer times; ``detectors``, the
        channels of the two detectors; and ``delay_s``, ``period_s``, ``window_s`` and ``range_s``
        as for `analyse_file`.

    Returns
    -------
    Result
        As of `qdchar.analysis.hbt.g2_live_gated.analyse`, or for arrays as of `analyse_file`.

    Raises
    ------
    UsageError
        If times come without channels, integer times without their resolution, or it is not clear
        which channels hold the detectors.
    InconclusiveError
        If a detector is silent or saturated, or no comb of peaks is found.

    Examples
    --------
    >>> from qdchar.analysis import hbt
    >>> hbt.analyse(times, channels, resolution_s=1e-12)["g2_zero"]  # doctest: +SKIP
    """
    if isinstance(tags, TagRun):
        if channels is not None:
            raise UsageError("a run knows its channels: leave them out")
        return g2_live_gated.analyse(tags, **options)
    if isinstance(tags, str | Path):
        raise UsageError(f"{tags} is a file: use hbt.analyse_file for it")
    if channels is None:
        raise UsageError("times need the channel of each tag: hbt.analyse(times, channels)")
    source = from_arrays(tags, channels, resolution_s=options.pop("resolution_s", None))
    return g2_live_gated.analyse_tags(
        source, _NAME, channels=options.pop("detectors", None), **options
    )
