"""Exponential decay seen through an instrument response: lineshapes on a periodic time axis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

_FORGOTTEN = 40.0  # exp(-40) is below what a float64 sum can see


def decay_kernel(n_bins: int, bin_s: float, lifetime_s: float, shift_s: float = 0.0) -> Array:
    """Return what an exponential decay makes of one bin of a periodic histogram, shape (n,).

    Parameters
    ----------
    n_bins, bin_s
        The histogram: n bins of this width [s] make one period.
    lifetime_s
        1/e decay time [s].
    shift_s
        Delay in addition to the decay [s].

    Notes
    -----
    A histogram of the response samples R = (response * bin), one of the decay
    D = (response * decay * bin) = (R * decay). With R interpolated linearly between its samples
    the kernel is the decay averaged over a triangle of two bins: non-negative, of unit sum, smooth
    in lifetime and shift. The triangle adds ``bin_s**2/6`` to the variance of the response: choose
    bins below a fifth of its rms width.
    """
    period = n_bins * bin_s
    start = shift_s % period
    t = bin_s * np.arange(-1, n_bins + 1) - start
    total = np.zeros(n_bins + 2)
    for k in range(math.ceil(_FORGOTTEN * lifetime_s / period) + 2):
        late = np.maximum(t + k * period, 0.0)
        # what has decayed by then, integrated: its second difference over a bin is the kernel
        total += late + lifetime_s * np.expm1(-late / lifetime_s)
    # rounding leaves 1e-12 of either sign where the kernel is zero
    return np.asarray(np.maximum(np.diff(total, 2) / bin_s, 0.0), dtype=np.float64)


def reconvolve(response: Array, kernel: Array) -> Array:
    """Convolve a periodic response, shape (n,), with a kernel of the same shape."""
    spectrum = np.fft.rfft(response) * np.fft.rfft(kernel)
    return np.asarray(np.maximum(np.fft.irfft(spectrum, len(response)), 0.0), dtype=np.float64)


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


def emg_histogram(
    n_bins: int, bin_s: float, lifetime_s: float, sigma_s: float, start_s: float
) -> Array:
    """Share of a periodic decay with Gaussian jitter in each bin, shape (n,), sum 1."""
    period = n_bins * bin_s
    edges = bin_s * np.arange(n_bins + 1) - start_s % period
    wraps = math.ceil(_FORGOTTEN * lifetime_s / period) + 2
    cumulated = np.zeros(n_bins + 1)
    for k in range(-2, wraps):
        cumulated += emg_cdf(edges + k * period, lifetime_s, sigma_s)
    return np.asarray(np.diff(cumulated), dtype=np.float64)
