"""A tail of the detectors' response beside the Gaussian that a FWHM stands for.

Silicon avalanche diodes answer part of the photons late, by diffusion of carriers. A FWHM does not
show it, and the tail fills the dip: 30 % of it put g2(0) = 0.10 at 0.17(1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from qdchar.errors import InconclusiveError

from ..statistics.likelihood import FitParameter, FitResult

TAIL_TIME = math.sqrt(8.0 * math.log(2.0))
"""1/e time of the tail over the standard deviation of the response: its FWHM. Tails of diodes of
0.3 to 0.7 ns FWHM last 0.2 to 1 ns; the shape of the dip hardly depends on it."""
_MOST_TAIL = 0.5
"""Largest share of pairs in the tail."""
_ALIKE = 2.0
"""By so much may a tail have the higher criterion and still be as good: a factor of 3 in
likelihood. A Gaussian response alone has such a tail in 2 to 3 % of histograms by chance."""


@dataclass(frozen=True)
class TailChoice:
    """The fit to report, and shifts of its parameters by the other, of one u."""

    solution: FitResult
    doubt: Mapping[str, float] = field(default_factory=dict)
    tried: str = ""


def with_tail(
    plain: FitResult,
    free: Mapping[str, FitParameter],
    fitted: Callable[[dict[str, FitParameter]], FitResult],
    n_bins: int,
) -> TailChoice:
    """Return the fit with a tail if the Bayesian information criterion favours it.

    Where it is about as good, the shift of each parameter, and what the free share adds to its
    uncertainty, are a contribution of type B. Where it is worse, the FWHM is believed: a weak tail
    is then not seen.

    Parameters
    ----------
    plain
        Fit with the Gaussian response.
    free
        Its parameters.
    fitted
        Fits again with other parameters; ``tail`` is the signed share of late pairs.
    n_bins
        Number of bins of the histogram.
    """
    starts = {name: replace(free[name], start=plain[name]) for name in plain.names}
    tails = []
    # one detector or the other is slow; the share has a kink at 0, so that each has its own fit
    for low, high in ((0.0, _MOST_TAIL), (-_MOST_TAIL, 0.0)):
        share = FitParameter(0.2 * (low + high), 0.1, low, high)
        try:
            tails.append(fitted({**starts, "tail": share}))
        except InconclusiveError:  # no tail: its share is undetermined
            continue
    if not tails:
        return TailChoice(plain)
    tail = min(tails, key=lambda s: s.minimum)
    gain = plain.minimum - tail.minimum - math.log(n_bins)
    tried = f"; BIC of a tail of the response {-gain:+.0f}"
    if gain > 0.0:
        return TailChoice(tail, {}, f"{tried}, share {abs(tail['tail']):.2g}")
    if gain < -_ALIKE:
        return TailChoice(plain, {}, tried)
    tail_at = tail.names.index("tail")
    doubt = {}
    for name in plain.names:
        size = math.hypot(
            tail[name] - plain[name], math.sqrt(max(tail.u(name) ** 2 - plain.u(name) ** 2, 0.0))
        )
        # with the sign with which it follows the share: the bottom as measured hardly does
        doubt[name] = math.copysign(size, tail.covariance[tail.names.index(name), tail_at])
    return TailChoice(plain, doubt, tried)
