"""Optics of the simulated lab: cavity, emission, etalon. Plain functions, SI units.

All functions are for one laser pulse at constant settings. The detectors are in `detectors`, the
piezos in `piezo`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, voigt_profile

Array = NDArray[np.float64]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def voigt_fwhm(lorentz_fwhm: float, sigma: float) -> float:
    """FWHM of a Voigt profile, exact, in the unit of its arguments.

    Parameters
    ----------
    lorentz_fwhm, sigma
        FWHM of the Lorentzian part and standard deviation of the Gaussian part.
    """
    if sigma == 0.0:
        return lorentz_fwhm
    gamma = 0.5 * lorentz_fwhm
    half = 0.5 * voigt_profile(0.0, sigma, gamma)
    top = lorentz_fwhm + FWHM_PER_SIGMA * sigma
    return 2.0 * float(brentq(lambda x: voigt_profile(x, sigma, gamma) - half, 0.0, top, xtol=1e-3))


def voigt_sigma(fwhm: float, lorentz_fwhm: float) -> float:
    """Gaussian standard deviation of the Voigt profile of a given FWHM, exact.

    Raises
    ------
    ValueError
        If the Lorentzian part alone is wider.
    """
    if fwhm < lorentz_fwhm:
        raise ValueError(
            f"a Voigt profile of FWHM {fwhm:g} cannot have a Lorentzian part of {lorentz_fwhm:g}"
        )
    if fwhm == lorentz_fwhm:
        return 0.0
    return float(brentq(lambda s: voigt_fwhm(lorentz_fwhm, s) - fwhm, 0.0, fwhm, rtol=1e-12))


def etalon_transmission(
    detuning_Hz: ArrayLike,
    fsr_Hz: float,
    fwhm_Hz: float,
    lorentz_fwhm_Hz: ArrayLike,
    sigma_Hz: float,
) -> Array:
    """Transmission of a Voigt line by an etalon with a peak transmission of one.

    Parameters
    ----------
    detuning_Hz
        Etalon resonance against the line's centre [Hz], any shape that broadcasts.
    fsr_Hz, fwhm_Hz
        Of the etalon [Hz].
    lorentz_fwhm_Hz
        FWHM of the line's Lorentzian part [Hz], any shape that broadcasts.
    sigma_Hz
        Standard deviation of its Gaussian part [Hz].

    Notes
    -----
    An Airy function is a Fourier series in the detuning with coefficients
    ``tanh(a) 2 exp(-2 a k)``, ``sinh(a) = sin(pi fwhm/(2 fsr))``; convolving with a line multiplies
    each by the line's characteristic function. The series is summed to terms below 1e-12.
    """
    a = float(np.arcsinh(np.sin(0.5 * np.pi * fwhm_Hz / fsr_Hz)))
    k = np.arange(1, int(np.ceil(27.7 / (2.0 * a))) + 1)
    nu = np.asarray(detuning_Hz, dtype=np.float64)[..., None]
    lorentz = np.asarray(lorentz_fwhm_Hz, dtype=np.float64)[..., None]
    decay = 2.0 * a + np.pi * lorentz / fsr_Hz
    gauss = 2.0 * (np.pi * k * sigma_Hz / fsr_Hz) ** 2
    terms = np.exp(-k * decay - gauss) * np.cos(2.0 * np.pi * k * nu / fsr_Hz)
    return np.asarray(np.tanh(a) * (1.0 + 2.0 * terms.sum(axis=-1)))


def purcell_factor(
    displacement_m: ArrayLike, on_resonance: float, finesse: float, fsr_m: float
) -> Array:
    """Purcell factor of a cavity whose mirror is off resonance by a displacement [m].

    An Airy function: the orders follow each other every `fsr_m`, half a wavelength.
    """
    phase = np.pi * np.asarray(displacement_m, dtype=np.float64) / fsr_m
    return np.asarray(on_resonance / (1.0 + np.square(2.0 * finesse / np.pi * np.sin(phase))))


def excitation(area: ArrayLike, damping: float) -> Array:
    """Probability that a pulse of area theta [rad] leaves the dot excited, damped Rabi rotation.

    ``(1 - exp(-k theta^2) cos(theta))/2``: phonons damp with the square of the Rabi frequency.
    """
    theta = np.asarray(area, dtype=np.float64)
    return np.asarray(0.5 * (1.0 - np.exp(-damping * np.square(theta)) * np.cos(theta)))


def brightest_area(damping: float) -> float:
    """Pulse area of the highest excitation [rad]: ``tan(theta) = -2 k theta``, just below pi."""
    return float(
        brentq(
            lambda x: np.sin(x) + 2.0 * damping * x * np.cos(x),
            0.5 * np.pi,
            1.1 * np.pi,
            xtol=1e-12,
        )
    )


@cache
def _reexcitation_table() -> tuple[Array, Array]:
    area = np.linspace(0.0, 40.0, 4001)
    t = np.linspace(-6.0, 6.0, 1201)
    done = area[:, None] * ndtr(t)
    integral = np.square(np.sin(0.5 * done) * np.sin(0.5 * (area[:, None] - done))).sum(axis=1)
    at_pi = np.interp(np.pi, area, integral)
    return area, integral / at_pi


def reexcitation(area: ArrayLike) -> Array:
    """Probability of a second photon from one pulse of area theta, relative to that at pi.

    The dot is excited after a part theta(t) of the pulse with probability sin^2(theta(t)/2), may
    emit at once, and the rest of the pulse excites it again: the integral over the pulse of
    ``sin^2(theta(t)/2) sin^2((theta - theta(t))/2)``, for a Gaussian pulse.
    """
    grid, relative = _reexcitation_table()
    theta = np.asarray(area, dtype=np.float64)
    if np.any(theta > grid[-1]):
        raise ValueError(f"pulse area of {theta.max():g} rad; the table ends at {grid[-1]:g}")
    return np.asarray(np.interp(theta, grid, relative))
