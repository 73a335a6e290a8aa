"""Exponential decay seen through an instrument response: lineshapes on a periodic time axis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, signal, special

from qdchar.estimate import Estimate, propagate

from ..statistics.intervals import Interval

Array = NDArray[np.float64]

_NEGLIGIBLE_AFTER = 40.0
"""Lifetimes after which a decay is negligible: exp(-40) is below the resolution of float64."""


def decayed(response: Array, bin_s: float, lifetime_s: float, shift_s: float = 0.0) -> Array:
    """Return a periodic response histogram convolved with an exponential decay, shape (n,).

    See `turning_decayed`, which takes complex times as well.
    """
    return np.asarray(turning_decayed(response, bin_s, lifetime_s, shift_s), dtype=np.float64)


def turning_decayed(
    response: Array, bin_s: float, lifetime_s: complex, shift_s: float = 0.0
) -> NDArray[np.inexact]:
    """Return a periodic response histogram convolved with an exponential decay, shape (n,).

    Parameters
    ----------
    response
        Histogram of the response in bins that make one period, shape (n,), not negative.
    bin_s
        Bin width [s].
    lifetime_s
        1/e decay time [s]; complex for an oscillation that decays.
    shift_s
        Delay in addition to the decay [s].

    Notes
    -----
    A histogram of the response samples R = (response * bin), one of the decay
    D = (response * decay * bin) = (R * decay). With R interpolated linearly between its samples,
    each sample contributes the decay averaged over a triangle of two bins: two bins of its own
    while the triangle enters, then a geometric series. The triangle adds ``bin_s**2/6`` to the
    variance of the response: choose bins below a fifth of its rms width.

    A recursive filter sums the series around the period. Every term is positive, so that empty
    bins stay exact. A Fourier transform would add rounding noise to them, and the residual of an
    empty bin is proportional to its square root.
    """
    n = len(response)
    whole, part = divmod(shift_s / bin_s, 1.0)
    x = (np.arange(1, 4) - part) * bin_s
    # the decay integrated twice: its second difference over a bin averages over the triangle
    twice = (x + lifetime_s * np.expm1(-x / lifetime_s)) / bin_s
    first, second = twice[0], twice[1] - 2 * twice[0]
    third = twice[2] - 2 * twice[1] + twice[0]
    ratio = np.exp(-bin_s / lifetime_s)
    tail = signal.lfilter([1.0], [1.0, -ratio], response)
    # The tails of the periods before; powers of a complex number take ten times as long.
    powers = signal.lfilter([ratio], [1.0, -ratio], np.eye(1, n)[0])
    tail += tail[-1] / -np.expm1(-n * bin_s / lifetime_s) * powers
    start = int(whole)
    return np.asarray(
        first * np.roll(response, start)
        + second * np.roll(response, start + 1)
        + third * np.roll(tail, start + 2)
    )


def widened(response: Array, factor: float) -> Array:
    """Return a periodic response histogram stretched in time about its highest bin, shape (n,).

    Parameters
    ----------
    response
        Counts in bins that make one period, shape (n,).
    factor
        Width of the stretched response over that of `response`.

    Notes
    -----
    The cumulated counts are interpolated by monotone cubic pieces, so that no bin becomes negative.
    Linear interpolation would widen the response by up to a quarter of a squared bin on the way.
    """
    n, top = len(response), int(np.argmax(response))
    centred = np.roll(response, n // 2 - top)
    cumulated = np.concatenate([[0.0], np.cumsum(np.tile(centred, 3))])
    middle = n // 2 + 0.5
    edges = n + middle + (np.arange(n + 1) - middle) / factor
    at_edges = interpolate.PchipInterpolator(np.arange(3 * n + 1), cumulated)(edges)
    return np.asarray(np.roll(np.diff(at_edges), top - n // 2), dtype=np.float64)


def widening(response: Array, factor: float) -> Array:
    """Return the derivative of `widened` with respect to the factor, shape (n,)."""
    step = 0.01
    up, down = (widened(response, factor + d) for d in (step, -step))
    return (up - down) / (2.0 * step)


def emg_cdf(t: ArrayLike, lifetime_s: float, sigma_s: float) -> Array:
    """Distribution function of an exponential decay from t = 0 with Gaussian jitter, shape of `t`.

    Notes
    -----
    Phi(t/s) - exp(-t^2/2s^2) erfcx((s/tau - t/s)/sqrt 2)/2: the scaled function keeps
    exp(s^2/2tau^2) from overflowing where the lifetime is short. Where its argument is far below
    zero, erfcx itself overflows and the plain form is exact.
    """
    t = np.asarray(t, dtype=np.float64)
    z = (sigma_s / lifetime_s - t / sigma_s) / math.sqrt(2.0)
    gauss = special.ndtr(t / sigma_s)
    scaled = 0.5 * np.exp(-0.5 * (t / sigma_s) ** 2) * special.erfcx(np.maximum(z, -5.0))
    exponent = 0.5 * (sigma_s / lifetime_s) ** 2 - t / lifetime_s
    plain = 0.5 * np.exp(np.minimum(exponent, 0.0)) * special.erfc(z)
    return np.asarray(gauss - np.where(z > -5.0, scaled, plain), dtype=np.float64)


def turning_emg_cdf(t: ArrayLike, lifetime_s: complex, sigma_s: float) -> NDArray[np.complex128]:
    """Return the same as `emg_cdf` for a complex time: an oscillation that decays."""
    t = np.asarray(t, dtype=np.float64)
    z = (sigma_s / lifetime_s - t / sigma_s) / math.sqrt(2.0)
    near = z.real > -5.0
    # w(iz) is the scaled complementary error function of a complex number
    scaled = np.exp(-0.5 * (t / sigma_s) ** 2) * special.wofz(1j * np.where(near, z, 0.0))
    exponent = 0.5 * (sigma_s / lifetime_s) ** 2 - t / lifetime_s
    plain = np.exp(np.where(near, 0.0, exponent)) * special.erfc(np.where(near, 0.0, z))
    return np.asarray(special.ndtr(t / sigma_s) - 0.5 * np.where(near, scaled, plain))


def emg_shares(
    edges_s: Array, period_s: float, lifetime_s: complex, sigma_s: float, start_s: float
) -> NDArray[np.inexact]:
    """Share of a periodic decay with Gaussian jitter between edges, shape of `edges_s` less one.

    Complex for a complex time: an oscillation that decays.

    Parameters
    ----------
    edges_s
        From 0 to at most the period, in order [s].
    period_s, lifetime_s, sigma_s, start_s
        Period, 1/e time, standard deviation of the jitter, and time of the pulse [s].

    Notes
    -----
    Later than 9 s + s^2/T1 after its pulse, with jitter s, a decay is a plain exponential to 1e-16.
    Those of all pulses that long ago add up to a geometric series.
    """
    edges = edges_s - start_s % period_s
    slow = 1.0 / (1.0 / lifetime_s).real
    plain = math.ceil(sigma_s * (9.0 + sigma_s / slow) / period_s) + 1
    negligible = math.ceil(_NEGLIGIBLE_AFTER * slow / period_s) + 2
    cumulated: NDArray[np.inexact] = np.zeros(len(edges))
    for k in range(-2, min(plain, negligible)):
        t = edges + k * period_s
        if isinstance(lifetime_s, complex):
            cumulated = cumulated + turning_emg_cdf(t, lifetime_s, sigma_s)
        else:
            cumulated += emg_cdf(t, lifetime_s, sigma_s)
    if plain < negligible:
        late = 0.5 * (sigma_s / lifetime_s) ** 2 - (edges + plain * period_s) / lifetime_s
        cumulated = cumulated + np.exp(late) / np.expm1(-period_s / lifetime_s)
    return np.asarray(np.diff(cumulated))


def temporal_fwhm(lifetime: Estimate) -> Estimate:
    """Return the FWHM of an exponential wavepacket's intensity, T1 ln 2, with T1's intervals."""
    factor = math.log(2.0)

    def scaled(interval: Interval | None) -> Interval | None:
        return None if interval is None else (factor * interval[0], factor * interval[1])

    return Estimate(
        name="temporal_fwhm",
        value=factor * lifetime.value,
        method="from lifetime, single exponential",
        plane=lifetime.plane,
        budget=propagate([(lifetime, factor)]),
        interval_68=scaled(lifetime.interval_68),
        interval_95=scaled(lifetime.interval_95),
    )
