"""Scans and spectra as other labs have them, from plain numpy.

Part of the study `foreign.py`. Nothing here imports qdchar. Every scan is two detectors' clicks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Rng = np.random.Generator

CLOCK_HZ = 76.13e6


def _two_detectors(
    rng: Rng, per_pulse: Array, dwell: float, dead_pulses: int = 0, noise: float = 0.0
) -> tuple[Counts, Counts]:
    """Clicks of two detectors that share the light evenly, each dead for some pulses after one.

    The number of live pulses is drawn click by click: a click costs 1 + m pulses.
    """
    pulses = dwell * CLOCK_HZ
    light = per_pulse * (1.0 + noise * rng.standard_normal(len(per_pulse)))
    p = np.clip(0.5 * light, 1e-12, 1.0)
    mean = pulses * p / (1.0 + dead_pulses * p)
    sigma = np.sqrt(pulses * p * (1.0 - p) / (1.0 + dead_pulses * p) ** 3)
    sides = []
    for _ in range(2):
        few = rng.poisson(mean)
        many = np.rint(mean + sigma * rng.standard_normal(len(p)))
        sides.append(np.where(mean < 200.0, few, np.maximum(many, 0.0)).astype(np.int64))
    return sides[0], sides[1]


def rabi(
    rng: Rng,
    *,
    pi_power: float = 10e-9,
    top: float = 30e-9,
    points: int = 60,
    brightness: float = 0.2,
    damping: float = 0.012,
    zero: float = 0.0,
    renormalised: float = 0.0,
    detuning: float = 0.0,
    leak: float = 0.0,
    noise: float = 0.0,
    dead_pulses: int = 0,
    reading: float = 0.005,
    scale: float = 0.0,
) -> tuple[Array, Counts, Counts, float]:
    """Draw a Rabi scan; return readings of the meter [W], clicks of both detectors, and the dwell.

    `zero` is what the meter displays without light [W]; `renormalised` the relative change of the
    pulse area per pi power, referred to the pi pulse; `detuning` that of the laser over the Rabi
    frequency of a square pi pulse; `reading` the noise of a reading; `scale` its certified error.
    """
    power = np.linspace(0.01, 1.0, points) * top
    area = np.pi * np.sqrt(power / pi_power)
    area *= (1.0 + renormalised * power / pi_power) / (1.0 + renormalised)
    if detuning > 0.0:
        generalised = np.hypot(area, np.pi * detuning)
        contrast = (area / generalised) ** 2
    else:
        generalised, contrast = area, np.ones(points)
    swing = np.exp(-damping * area**2) * np.cos(generalised)
    per_pulse = brightness * contrast * 0.5 * (1.0 - swing) + leak * power / top + 1e-6
    a, b = _two_detectors(rng, per_pulse, 0.01, dead_pulses, noise)
    read = power * (1.0 + scale * rng.standard_normal()) + zero
    read = read * (1.0 + reading * rng.standard_normal(points))
    return read, a, b, 0.01


def saturation(
    rng: Rng,
    *,
    power: float = 10e-9,
    top: float = 60e-9,
    points: int = 40,
    law: str = "pulsed",
    zero: float = 0.0,
    background: float = 0.02,
    brightness: float = 0.05,
    reading: float = 0.005,
    scale: float = 0.0,
) -> tuple[Array, Counts, Counts, float]:
    """Draw a saturation scan; `law` is ``pulsed`` or ``continuous``. Return as `rabi`."""
    p = np.geomspace(0.01, 1.0, points) * top
    filling = 1.0 - np.exp(-p / power) if law == "pulsed" else p / (p + power)
    per_pulse = brightness * (filling + background * p / top) + 1e-6
    a, b = _two_detectors(rng, per_pulse, 0.05)
    read = p * (1.0 + scale * rng.standard_normal()) + zero
    return read * (1.0 + reading * rng.standard_normal(points)), a, b, 0.05


def _voigt_through_etalon(order: Array, etalon: float, lorentz: float, sigma: float) -> Array:
    """Share of a Voigt line that an etalon transmits: sums over a fine grid of one order."""
    n = 4096
    grid = (np.arange(n) - n // 2) / n
    through = 1.0 / (1.0 + (np.sin(np.pi * grid) / np.sin(np.pi * etalon / 2.0)) ** 2)
    if lorentz <= 0.0:
        line = np.zeros(n)
        line[n // 2] = 1.0
    else:
        folded = np.sinh(np.pi * lorentz) / (np.cosh(np.pi * lorentz) - np.cos(2.0 * np.pi * grid))
        gauss = np.exp(-0.5 * (grid / sigma) ** 2) if sigma > 0.0 else (grid == 0.0) * 1.0
        spectrum = np.fft.rfft(np.fft.ifftshift(folded)) * np.fft.rfft(np.fft.ifftshift(gauss))
        line = np.fft.fftshift(np.fft.irfft(spectrum, n))
        line /= line.sum()
    spectrum = np.fft.rfft(np.fft.ifftshift(through)) * np.fft.rfft(np.fft.ifftshift(line))
    passed = np.fft.fftshift(np.fft.irfft(spectrum, n))
    at = np.mod(order + 0.5, 1.0) - 0.5
    return np.asarray(np.interp(at, np.append(grid, 0.5), np.append(passed, passed[0])))


def etalon(
    rng: Rng,
    *,
    lines: tuple[tuple[float, float], ...] = ((0.0, 1.0),),
    lorentz: float = 2.1e9,
    gauss: float = 1.276e9,
    kappa: float = 5.4e9,
    fsr: float = 100e9,
    fsr_u: float = 0.2e9,
    drift: float = 0.0,
    hop: float = 0.0,
    points: int = 200,
    brightness: float = 0.02,
    noise: float = 0.0,
) -> tuple[Array, tuple[Counts, Counts], tuple[Counts, Counts], float]:
    """Draw an etalon scan of a narrow laser and one of the source.

    `lines` are place [Hz] and share; `drift` is how far the line moves during its scan [Hz], `hop`
    the size of a jump in its middle [Hz]. The true spectral range differs from `fsr` by its
    certificate. Returns voltages, clicks of the narrow laser, of the source, and the dwell.
    """
    fsr = fsr + fsr_u * rng.standard_normal()
    volts = np.linspace(12.0, 81.0, points)
    t = (volts - volts.mean()) / np.ptp(volts)
    order = 2.2 * t + 0.06 * t**2 - 0.03 * t**3
    narrow = _voigt_through_etalon(order, kappa / fsr, 0.0, 0.0)
    dwell = 0.02
    laser = _two_detectors(rng, 0.01 * narrow + 1e-5, dwell)
    moved = (drift * np.arange(points) / points + hop * (np.arange(points) > points / 2)) / fsr
    source = np.zeros(points)
    for place, share in lines:
        at = order - 0.13 - place / fsr - moved
        source += share * _voigt_through_etalon(
            at, kappa / fsr, lorentz / fsr, gauss / fsr / 2.3548
        )
    return volts, laser, _two_detectors(rng, brightness * source + 2e-5, dwell, 0, noise), dwell


def cavity(
    rng: Rng,
    *,
    modes: tuple[tuple[float, float], ...] = ((0.0, 1.0),),
    fwhm: float = 0.066,
    thermal: float = 0.0,
    drift: float = 0.0,
    points: int = 70,
    brightness: float = 0.02,
    noise: float = 0.0,
) -> tuple[Array, Counts, Counts, float]:
    """Draw a scan of the cavity's piezo about 31 V.

    `modes` are place [widths] and share; `thermal` is how far the resonance follows the light in
    the cavity [widths]; `drift` how far the piezo creeps during the scan [widths].
    """
    volts = np.linspace(30.5, 31.5, points)
    creep = drift * fwhm * np.log1p(np.arange(points)) / np.log(points)
    x = (volts - 31.0 - creep) / fwhm
    light = np.zeros(points)
    if thermal > 0.0:
        last = 0.0
        for i, at in enumerate(x):
            for _ in range(200):  # the resonance follows the light of this moment
                last += 0.2 * (1.0 / (1.0 + 4.0 * (at - thermal * last) ** 2) - last)
            light[i] = last
    else:
        for place, share in modes:
            light += share / (1.0 + 4.0 * (x - place) ** 2)
    a, b = _two_detectors(rng, brightness * light + 1e-4, 0.02, 0, noise)
    return volts, a, b, 0.02


def reflectivity(
    rng: Rng,
    *,
    modes: tuple[tuple[float, float], ...] = ((0.0, 0.5),),
    fwhm: float = 70e-12,
    dispersive: float = 0.05,
    fringe: float = 0.0,
    noise: float = 0.002,
    counts: float = 20_000.0,
    range_m: float = 1e-9,
    points: int = 500,
) -> tuple[Array, Counts]:
    """Draw a reflectivity spectrum about 884.5 nm; return wavelengths [m] and counts.

    `modes` are place [m] and depth. `fringe` is the amplitude of an etalon in the path.
    """
    wavelength = 884.5e-9 + np.linspace(-0.5, 0.5, points) * range_m
    dip = np.zeros(points)
    for place, depth in modes:
        u = 2.0 * (wavelength - 884.5e-9 - place) / fwhm
        dip += depth * (1.0 - dispersive * u) / (1.0 + u**2)
    slope = 1.0 + 0.1 * (wavelength - 884.5e-9) / range_m
    light = counts * slope * (1.0 - dip) * (1.0 + noise * rng.standard_normal(points))
    wave = 2.0 * np.pi * ((wavelength - 884.5e-9) / 37e-12 + rng.random())
    return wavelength, rng.poisson(light * (1.0 + fringe * np.sin(wave))).astype(np.int64)
