"""Central intervals where the error is not normal: few counts, bounds, rectangles."""

from __future__ import annotations

import math

from scipy import stats

Interval = tuple[float, float]

LEVEL_68 = math.erf(1.0 / math.sqrt(2.0))
LEVEL_95 = 0.95
K_95 = 1.959964


def garwood(count: int, level: float) -> Interval:
    """Return the exact interval of a Poisson mean; it covers at least `level` at any mean [1]_.

    References
    ----------
    .. [1] F. Garwood, Biometrika 28, 437 (1936), doi:10.1093/biomet/28.3-4.437

    Examples
    --------
    >>> low, high = garwood(0, 0.95)
    >>> low, round(high, 3)
    (0.0, 3.689)
    """
    tail = (1.0 - level) / 2.0
    low = float(stats.gamma.ppf(tail, count)) if count > 0 else 0.0
    return low, float(stats.gamma.isf(tail, count + 1))


def exact_interval(count: int, level: float, background: float = 0.0) -> Interval:
    """Return a central interval of the mean s >= 0 of counts ~ Poisson(s + background).

    Garwood's without background; with one, its upper end is that of `upper_limit`.
    """
    low, _ = garwood(count, level)
    return max(low - background, 0.0), upper_limit(count, 0.5 * (1.0 + level), background)


def upper_limit(count: int, level: float, background: float = 0.0) -> float:
    """Return the one-sided upper limit of the mean s >= 0 of counts ~ Poisson(s + background).

    Parameters
    ----------
    count
        Observed counts, background included.
    level
        Least probability that the limit is not below the true mean, e.g. 0.95.
    background
        Expected counts that are no signal, known.

    Notes
    -----
    The s at which ``P(n <= count; s + b)/P(n <= count; b)`` is ``1 - level`` [1]_ [2]_. Without
    background this is Clopper's and Pearson's limit for a Poisson count; with one it covers too
    often rather than too seldom, and it never excludes a signal because the background happened to
    be low.

    References
    ----------
    .. [1] O. Helene, Nucl. Instrum. Methods 212, 319 (1983), doi:10.1016/0167-5087(83)90709-3
    .. [2] A. L. Read, J. Phys. G 28, 2693 (2002), doi:10.1088/0954-3899/28/10/313

    Examples
    --------
    >>> round(upper_limit(0, 0.95), 3), round(upper_limit(5, 0.95), 2)
    (2.996, 10.51)
    """
    posterior = stats.gamma(count + 1)
    return float(posterior.isf((1.0 - level) * float(posterior.sf(background)))) - background


def jeffreys(count: int, level: float, background: float = 0.0) -> Interval:
    """Return an interval for the mean signal s >= 0 of counts ~ Poisson(s + background).

    Central credible interval with Jeffreys' prior, whose coverage is closest to `level` on
    average where exact intervals are too long [1]_. It tends to count +- k sqrt(count) at many
    counts.

    Parameters
    ----------
    count
        Observed counts, background included.
    level
        Probability content, e.g. 0.95.
    background
        Expected counts that are no signal, known.

    Notes
    -----
    The lower end is that of the total, less the background, and not below zero: no signal is
    excluded only where the background alone would seldom make as many counts. For the upper end
    the posterior is confined to s >= 0 [2]_; so it is positive even if fewer counts came than the
    background makes on average.

    References
    ----------
    .. [1] L. D. Brown, T. T. Cai, A. DasGupta, Statist. Sinica 13, 19 (2003)
    .. [2] O. Helene, Nucl. Instrum. Methods 212, 319 (1983), doi:10.1016/0167-5087(83)90709-3
    """
    tail = (1.0 - level) / 2.0
    posterior = stats.gamma(count + 0.5)
    low = float(posterior.ppf(tail)) - background if count > 0 else 0.0
    high = float(posterior.isf(tail * float(posterior.sf(background)))) - background
    return max(low, 0.0), high


def possible_part(
    interval: Interval, least: float = -math.inf, greatest: float = math.inf
) -> Interval:
    """Return the part of an interval that is possible, or all of it where no part is.

    A value more than its interval beyond what is possible is bad luck or a wrong model. It keeps
    its interval, so that this can be seen.

    Examples
    --------
    >>> possible_part((0.97, 1.02), greatest=1.0)
    (0.97, 1.0)
    >>> possible_part((1.01, 1.05), greatest=1.0)
    (1.01, 1.05)
    """
    low, high = max(interval[0], least), min(interval[1], greatest)
    return (low, high) if low <= high else interval


def widen(value: float, interval: Interval, k: float, u: float) -> Interval:
    """Add an independent normal error `u` to both sides of an interval of `k` standard errors."""
    low, high = value - interval[0], interval[1] - value
    return value - math.hypot(low, k * u), value + math.hypot(high, k * u)


def scaled_interval(value: float, interval: Interval, factor: float) -> Interval:
    """Scale the distances of an interval's ends from its value."""
    return value + factor * (interval[0] - value), value + factor * (interval[1] - value)


def rectangular(low: float, high: float, level: float) -> Interval:
    """Return the central interval of a rectangular distribution between two limits."""
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    return middle - level * half, middle + level * half


def jeffreys_ratio(count: int, other: int, level: float) -> Interval:
    """Return an interval for the ratio of two Poisson means, count over other.

    Notes
    -----
    Given their sum, count is binomial with share p, and the ratio is p/(1 - p); Jeffreys' interval
    for p is that of a Beta(count + 1/2, other + 1/2) distribution.
    """
    tail = (1.0 - level) / 2.0
    share = stats.beta(count + 0.5, other + 0.5)
    low = 0.0 if count == 0 else float(share.ppf(tail))
    high = float(share.isf(tail))
    return low / (1.0 - low), high / (1.0 - high)


def exact_ratio(count: int, other: int, level: float) -> Interval:
    """Return Clopper's and Pearson's interval for the ratio of two Poisson means."""
    tail = 0.5 * (1.0 - level)
    low = float(stats.beta(count, other + 1).ppf(tail)) if count > 0 else 0.0
    return low / (1.0 - low), upper_limit_ratio(count, other, 1.0 - tail)


def upper_limit_ratio(count: int, other: int, level: float) -> float:
    """Return the one-sided upper limit of the ratio of two Poisson means, count over other.

    Notes
    -----
    Clopper's and Pearson's limit p of the share that `count` has in both [1]_, as p/(1 - p).

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, Biometrika 26, 404 (1934), doi:10.1093/biomet/26.4.404
    """
    share = float(stats.beta(count + 1, other).isf(1.0 - level))
    return share / (1.0 - share)
