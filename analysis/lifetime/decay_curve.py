"""A decay histogram with its fit and response, ready to draw."""

from __future__ import annotations

import numpy as np

from qdchar.fit import Curve, Series

from ..models.decay import Array

_LEAST_SHOWN = 0.5
"""Expected counts per bin from which on a bin is drawn."""
_ABOVE_BACKGROUND = 2.0
"""Expected counts over the background's, in the same way."""
_BESIDE = 0.1
"""Part of the width of what is drawn that is added on both sides."""


def decay_curve(
    title: str,
    decay: Array,
    expected: Array,
    bin_s: float,
    residuals_bin: Array,
    residuals: Array,
    response: Array | None = None,
    shift_s: float = 0.0,
) -> Curve:
    """Return the curve of a decay, bin by bin, with residuals of groups of bins.

    Parameters
    ----------
    decay, expected
        Counts and expected counts per bin, shape (n,).
    bin_s
        Width of a bin [s].
    residuals_bin, residuals
        Middle of each group of bins, in bins, and its residual, shape (k,).
    response
        Counts of the instrument response, at least n of them; drawn scaled to the decay's height.
    shift_s
        By how much the response is later in the decay than in its own recording [s].

    Notes
    -----
    Time zero is the maximum of the response, or the first bin where there is none. The curve holds
    the part of the period in which the fit is above the background, and what lies beside it; the
    residuals are those of the whole period.
    """
    n, top = len(decay), int(np.argmax(expected))
    if response is not None:
        response = np.roll(response, round(shift_s / bin_s))[:n]
    zero = 0 if response is None else int(np.argmax(response))
    time_ns = np.asarray((np.arange(n) - zero) * bin_s * 1e9, dtype=np.float64)
    threshold = max(_ABOVE_BACKGROUND * float(np.median(expected)), _LEAST_SHOWN)
    first, last = _around(expected > min(threshold, 0.5 * float(expected[top])), top)
    margin = _BESIDE * (last - first) + 1.0
    drawn = slice(int(max(first - margin, 0.0)), int(min(last + margin, n - 1.0)) + 1)
    time_ns, decay, expected = time_ns[drawn], decay[drawn], expected[drawn]
    others: tuple[Series, ...] = ()
    if response is not None:
        scaled = response * (float(expected.max()) / float(response.max()))
        others = (Series("response, scaled", time_ns, scaled[drawn]),)
    return Curve(
        title=title,
        x_label="time after the response's maximum (ns)" if others else "time (ns)",
        y_label="counts per bin",
        x=time_ns,
        y=np.asarray(decay, dtype=np.float64),
        u_y=np.sqrt(decay + 0.5),
        model=expected,
        residuals=residuals,
        x_line=time_ns,
        y_line=expected,
        log_y=True,
        kind="histogram",
        data_label="decay",
        quantities=("lifetime",),
        others=others,
        x_residuals=np.asarray((residuals_bin - 0.5 - zero) * bin_s * 1e9, dtype=np.float64),
        shown=(float(time_ns[0]), float(time_ns[-1])),
    )


def _around(above: np.ndarray, top: int) -> tuple[int, int]:
    """Return the first and the last bin of the stretch of bins about `top` that are above."""
    before, after = np.flatnonzero(~above[:top]), np.flatnonzero(~above[top:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = top + int(after[0]) - 1 if len(after) else len(above) - 1
    return first, last
