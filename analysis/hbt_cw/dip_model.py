"""The dip of a driven emitter under continuous excitation, as a pair of detectors sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from qdchar.errors import UsageError
from qdchar.estimate import Uncertain, propagate

from ..models.decay import emg_cdf, turning_emg_cdf

Array = NDArray[np.float64]

_FWHM_PER_SIGMA = math.sqrt(8.0 * math.log(2.0))


@dataclass(frozen=True)
class Dip:
    """A driven three-level emitter with background.

    Attributes
    ----------
    g2_zero
        g2(0).
    time_s
        t1, 1/e time of the antibunching [s].
    rise, bunching_time_s
        (1 - g2(0)) a of the bunching, 0 for two levels, and its 1/e time t2 [s].
    rabi_hz
        Frequency W/2pi at which a strongly driven emitter of two levels oscillates; 0 for none.
        The dip then is ``exp(-|t|/t1) [cos(W t) + sin(W |t|)/(W t1)]`` instead of
        ``exp(-|t|/t1)`` [1]_.

    tail, tail_s
        Share of pairs whose delay is longer (if negative: shorter) by an exponential of `tail_s`
        beside the Gaussian, as one detector with slow carriers makes it, and its 1/e time [s].
        Not beside an oscillation.

    References
    ----------
    .. [1] H. J. Carmichael, D. F. Walls, J. Phys. B 9, 1199 (1976),
       doi:10.1088/0022-3700/9/8/007
    """

    g2_zero: float
    time_s: float
    rise: float = 0.0
    bunching_time_s: float = 1.0
    rabi_hz: float = 0.0
    tail: float = 0.0
    tail_s: float = 1.0

    @property
    def bunching(self) -> float:
        """a, of the emitter's own light."""
        return self.rise / (1.0 - self.g2_zero)

    def binned(self, edges_s: ArrayLike, sigma_s: float = 0.0) -> Array:
        """Return g2 with a Gaussian response, averaged over bins between edges, shape (n,).

        Parameters
        ----------
        edges_s
            Bin edges from zero delay, shape (n + 1,) [s].
        sigma_s
            Standard deviation of the response of the pair [s].
        """
        edges = np.asarray(edges_s, dtype=np.float64)
        weight, time = self._oscillation
        dip = np.real(weight * self._cumulated(edges, time, sigma_s))
        g2 = np.diff(edges) - self._drop * np.diff(dip)
        if self.rise != 0.0:
            g2 += self.rise * np.diff(self._cumulated(edges, self.bunching_time_s, sigma_s))
        return np.asarray(g2 / np.diff(edges), dtype=np.float64)

    def bottom(self, sigma_s: float) -> float:
        """Return g2 at zero delay with the response."""
        if self.tail != 0.0:
            half = 1e-3 * min(self.time_s, self.tail_s)
            return float(self.binned([-half, half], sigma_s)[0])
        weight, time = self._oscillation
        root = math.sqrt(2.0)
        # w(iz) is erfcx(z), of complex numbers as well
        fast = (weight * special.wofz(1j * sigma_s / (root * time))).real
        slow = float(special.erfcx(sigma_s / (root * self.bunching_time_s)))
        return float(1.0 - self._drop * fast + self.rise * slow)

    def _cumulated(self, edges: Array, time_s: complex, sigma_s: float) -> NDArray[np.inexact]:
        plain = _cumulated(edges, time_s, sigma_s)
        if self.tail == 0.0 or isinstance(time_s, complex):
            return plain
        late = _cumulated_late(edges, time_s, sigma_s, self.tail_s, math.copysign(1.0, self.tail))
        return np.asarray((1.0 - abs(self.tail)) * plain + abs(self.tail) * late)

    @property
    def _oscillation(self) -> tuple[complex, complex]:
        """Weight and 1/e time of the exponential whose real part is the dip."""
        if self.rabi_hz == 0.0:
            return 1.0, self.time_s
        turn = 2.0 * math.pi * self.rabi_hz
        return 1.0 - 1j / (turn * self.time_s), 1.0 / complex(1.0 / self.time_s, -turn)

    @property
    def _drop(self) -> float:
        """(1 - g2(0)) (1 + a)."""
        return 1.0 - self.g2_zero + self.rise


def _cumulated(x: Array, time_s: complex, sigma_s: float) -> NDArray[np.inexact]:
    """Return the integral up to x of exp(-|tau|/time), convolved with a normalised Gaussian."""
    if sigma_s > 0.0:
        if isinstance(time_s, complex):
            up, down = (turning_emg_cdf(sign * x, time_s, sigma_s) for sign in (1.0, -1.0))
            return np.asarray(time_s * (up + 1.0 - down))
        two_sided = emg_cdf(x, time_s, sigma_s) + 1.0 - emg_cdf(-x, time_s, sigma_s)
        return np.asarray(time_s * two_sided, dtype=np.float64)
    tail = np.exp(-np.abs(x) / time_s)
    return np.asarray(time_s * np.where(x < 0.0, tail, 2.0 - tail))


def _cumulated_late(x: Array, time_s: float, sigma_s: float, tail_s: float, side: float) -> Array:
    """Return `_cumulated`, also convolved with a one-sided exponential, late if `side` is 1.

    Notes
    -----
    With normalised L_t late and E_t early exponentials, ``exp(-|x|/t) = t (L_t + E_t)``, and by
    partial fractions, * a convolution,

        L_t * L_s = (t L_t - s L_s)/(t - s),  E_t * L_s = (t E_t + s L_s)/(t + s) .
    """
    t, s = time_s, tail_s
    if abs(t - s) < 1e-4 * t:  # the limit t = s; the difference of two like terms loses digits
        s = t * (1.0 + 1e-4)

    def one_sided(tau: float, way: float) -> Array:
        up = emg_cdf(way * x, tau, sigma_s)
        return np.asarray(up if way > 0.0 else 1.0 - up, dtype=np.float64)

    same, opposite, late = one_sided(t, side), one_sided(t, -side), one_sided(s, side)
    both = (t * same - s * late) / (t - s) + (t * opposite + s * late) / (t + s)
    return np.asarray(t * both, dtype=np.float64)


def pair_response(fwhm_a: Uncertain, fwhm_b: Uncertain) -> Uncertain:
    """Return the standard deviation of the delay of a pair, from the FWHM of both detectors [s].

    One certificate for both detectors is one error source, two certificates are two.
    """
    a, b = fwhm_a.value, fwhm_b.value
    if not (a >= 0.0 and b >= 0.0):
        raise UsageError(f"response of {a:g} and {b:g} s FWHM: a width is not negative")
    both = math.hypot(a, b)
    slopes = [(e, e.value / max(both, 1e-300) / _FWHM_PER_SIGMA) for e in (fwhm_a, fwhm_b)]
    return Uncertain(both / _FWHM_PER_SIGMA, propagate(slopes))
