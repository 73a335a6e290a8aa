"""What detuning does, against the Purcell effect averaged by brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qdchar.analysis import detuning
from qdchar.estimate import Contribution, Estimate

F0, FWHM_M, BULK_S = 14.0, 0.763e-9, 1.137e-9


def _estimate(name: str, value: float, u: float = 0.0, source: str = "") -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method="",
        budget=(Contribution(source or name, u, "B"),),
    )


def _correction(value: float, u: float) -> Estimate:
    return _estimate("transmission_detuning_correction", value, u)


def _line(lorentz: float, gauss: float, etalon: float, fsr: float) -> detuning.FilteredLine:
    return detuning.FilteredLine(
        lorentz=_estimate("linewidth_lorentz", lorentz),
        gauss=_estimate("linewidth_gauss", gauss),
        etalon_fwhm=_estimate("etalon_fwhm", etalon),
        etalon_fsr=_estimate("etalon_fsr", fsr),
    )


def _lifetime(displacement_m: np.ndarray | float) -> np.ndarray:
    """T1 = T_b/(1 + F0/(1 + x^2)) (physics of the Purcell effect, not of the code under test)."""
    return np.asarray(BULK_S / (1 + F0 / (1 + (2 * np.asarray(displacement_m) / FWHM_M) ** 2)))


@pytest.mark.parametrize(
    ("vibration", "residual"), [(0.03e-9, 0.0), (0.0, 0.04e-9), (3e-11, 2e-11)]
)
def test_the_lifetime_of_a_cavity_that_vibrates(vibration: float, residual: float) -> None:
    correction = detuning.lifetime_correction(
        _estimate("purcell_factor", F0),
        _estimate("cavity_count_fwhm", FWHM_M * math.sqrt(1 + F0)),
        _estimate("cavity_vibration", vibration),
        _estimate("cavity_detuning_square", residual**2),
        LONG,
    )
    rng = np.random.default_rng(1)
    z = residual * rng.choice([-1, 1], 400_000) + vibration * rng.normal(size=400_000)
    true = float(np.mean(_lifetime(z)) / _lifetime(0.0) - 1)
    # second order in z^2 is left out: a per cent or two of the correction here
    assert correction.value == pytest.approx(true, rel=0.03)


def _relocks(
    rng: np.random.Generator, noise_V: float, drift_V: float, count: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Simulate re-locks with noise on a peak that drifts; returns also the true mean square."""
    wander = rng.normal(0.0, drift_V, count)
    peak = np.cumsum(wander) - wander
    locked, offsets = np.empty(count), np.empty(count)
    at = 0.0
    for k in range(count):
        offset = offsets[k] = peak[k] - at + rng.normal(0.0, noise_V)
        at += offset
        while abs(offset) > 1.5e-3:
            offset = peak[k] - at + rng.normal(0.0, noise_V)
            at += offset
        locked[k] = at
    path = peak[:-1, None] + wander[:-1, None] * (np.arange(200) + 0.5) / 200
    return np.full(count, noise_V), offsets, float(np.mean((path - locked[:-1, None]) ** 2))


LONG = "a long recording", 1e9
"""In which the vibration takes all its values."""
PER_VOLT = _estimate("cavity_metres_per_volt", 45e-9)
LABS = pytest.mark.parametrize(("noise_V", "drift_V"), [(1e-4, 1e-3), (1e-3, 1e-3), (1e-3, 1e-4)])


@pytest.mark.parametrize(
    ("noise_V", "drift_V"), [(1e-4, 1e-3), (3e-4, 1e-3), (3e-4, 1e-4), (3e-4, 3e-4)]
)
def test_the_mean_square_detuning_between_relocks(noise_V: float, drift_V: float) -> None:
    """For readouts well within the tolerance at which a lock ends, as its repeats make them.

    Noise near the tolerance would be cut off by it: the result would be too large by a third.
    """
    u, found, true = _relocks(np.random.default_rng(9), noise_V, drift_V, 4000)
    square = detuning.detuning_square(u, found, u, PER_VOLT)
    assert square.value == pytest.approx(true * PER_VOLT.value**2, rel=0.06, abs=0.0)


@LABS
def test_the_uncertainty_of_the_detuning(noise_V: float, drift_V: float) -> None:
    """Over few re-locks: the interval includes the truth, and is not much too wide."""
    rng, pulls, of_readout = np.random.default_rng(10), [], []
    for _ in range(500):
        u, found, true = _relocks(rng, noise_V, drift_V, 6)
        square = detuning.detuning_square(u, found, u, PER_VOLT)
        off = abs(square.value - true * PER_VOLT.value**2)
        pulls.append(off / square.u)
        of_readout.append(off / {c.source: c.u for c in square.budget}["peak-lock readout"])
    assert np.mean(np.array(pulls) < 1.0) > 0.66
    assert np.mean(np.array(pulls) < 1.96) > 0.94
    assert np.median(of_readout) > 0.32  # half of what it is of a normal error


@pytest.mark.parametrize("off_m", [0.0, 25e-12])
def test_a_short_recording_sees_few_vibrations(off_m: float) -> None:
    """40 ms hold 40 independent displacements; the lifetime follows their mean square."""
    vibration_m, rng = 0.03e-9, np.random.default_rng(14)
    z = off_m + rng.normal(0.0, vibration_m, (20_000, 40))
    scatter = float(np.std(np.mean(_lifetime(z), axis=1))) / _lifetime(0.0)
    correction = detuning.lifetime_correction(
        _estimate("purcell_expected", F0),
        _estimate("cavity_count_fwhm", FWHM_M * math.sqrt(1 + F0)),
        _estimate("cavity_vibration", vibration_m),
        _estimate("cavity_detuning_square", off_m**2),
        ("emission.h5", 0.04),
    )
    assert {c.source: c.u for c in correction.budget}[
        "vibration during emission.h5"
    ] == pytest.approx(scatter, rel=0.05)


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 2.0])
def test_a_drift_that_is_not_even(power: float) -> None:
    drift_V, t = 1e-3, (np.arange(10_000) + 0.5) / 10_000
    none, found = np.zeros(20), np.full(20, drift_V)
    square = detuning.detuning_square(none, found, none, PER_VOLT)
    true = PER_VOLT.value**2 * float(np.mean((drift_V * t**power) ** 2))
    assert abs(true - square.value) < 2.0 * square.u


def test_the_detuning_needs_two_relocks() -> None:
    one = np.array([1e-4])
    with pytest.raises(ValueError, match="at least two cavity re-locks"):
        detuning.detuning_square(one, np.array([1e-3]), one, PER_VOLT)


@pytest.mark.parametrize("residual_m", [0.0, 1e-11, 2e-11])
def test_intervals_of_a_correction_whose_inputs_are_roughly_known(residual_m: float) -> None:
    """Certificates drawn about the truth: the product's intervals hold it as often as they say."""
    rng = np.random.default_rng(12)
    f, w, v = 14.0, 2.95e-9, 0.03e-9
    truth = {"purcell_expected": f, "cavity_count_fwhm": w, "cavity_vibration": v}
    u_rel = {"purcell_expected": 0.08, "cavity_count_fwhm": 0.05, "cavity_vibration": 0.115}
    true = f * 4.0 * (v**2 + residual_m**2) / w**2
    held = np.zeros(2)
    draws = 4000
    u_square = 0.5 * residual_m**2
    for _ in range(draws):
        drawn = [_estimate(k, rng.normal(x, u_rel[k] * x), u_rel[k] * x) for k, x in truth.items()]
        residual = _estimate(
            "cavity_detuning_square", rng.normal(residual_m**2, u_square), u_square
        )
        correction = detuning.lifetime_correction(*drawn, residual, LONG)
        intervals = correction.interval_68, correction.interval_95
        held += [low <= true <= high for low, high in intervals]
    assert 0.66 < held[0] / draws < 0.70
    assert 0.94 < held[1] / draws < 0.96


def test_shared_error_sources_add_with_their_signs() -> None:
    """Width and residual come from one scale of the piezo, which then cancels in (z/w)^2."""
    width = _estimate("cavity_count_fwhm", 2.95e-9, 0.05 * 2.95e-9, "scale")
    residual = _estimate("cavity_detuning_square", 2e-21, 0.1 * 2e-21, "scale")
    still = _estimate("cavity_vibration", 0.0)
    correction = detuning.lifetime_correction(
        _estimate("purcell_expected", F0), width, still, residual, LONG
    )
    assert correction.u < 1e-6 * correction.value


def test_the_line_narrows_and_the_etalon_opens() -> None:
    """Against a numerical overlap of a Voigt line with an Airy function."""
    kappa, fsr, gauss = 5.4e9, 100e9, 1.276e9
    nu = np.linspace(-fsr / 2, fsr / 2, 20_001)
    airy = 1 / (1 + (np.sin(np.pi * nu / fsr) / math.sin(math.pi * kappa / 2 / fsr)) ** 2)

    def overlap(lorentz: float) -> float:
        line = np.zeros_like(nu)
        sigma = gauss / 2.3548200450309493
        for shift in np.linspace(-5, 5, 61):  # Gaussian wandering, by brute force
            centre = shift * sigma
            lorentzian = np.zeros_like(nu)
            for order in range(-30, 31):  # the tail folds into other orders
                lorentzian += (
                    lorentz / (2 * np.pi) / ((nu - centre + order * fsr) ** 2 + (lorentz / 2) ** 2)
                )
            line += math.exp(-(shift**2) / 2) * lorentzian
        return float(np.sum(line * airy) / np.sum(line))

    measured = 2.1e9 / 1.008
    correction = detuning.transmission_correction(
        _estimate("lifetime_detuning_correction", 0.008, 0.002),
        _line(measured, gauss, kappa, fsr),
    )
    assert correction.value == pytest.approx(overlap(measured) / overlap(2.1e9) - 1, rel=0.01)
    assert correction.u == pytest.approx(correction.value * 0.25, rel=0.01)


def test_a_correction_adds_its_uncertainty() -> None:
    measured, correction = (
        _estimate("transmitter_efficiency", 0.42, 0.001),
        _correction(0.05, 0.01),
    )
    corrected = detuning.on_resonance(measured, correction)
    assert corrected.value == pytest.approx(0.4)
    assert corrected.u == pytest.approx(math.hypot(0.001 / 1.05, 0.4 * 0.01 / 1.05))
    assert corrected.interval_68 is None  # normal, as its inputs


def test_a_skewed_correction_makes_a_skewed_interval() -> None:
    measured = _estimate("transmitter_efficiency", 0.42)
    correction = replace(_correction(0.05, 0.01), interval_68=(0.04, 0.08))
    corrected = detuning.on_resonance(measured, correction)
    assert corrected.interval_68 == pytest.approx((0.42 / 1.08, 0.42 / 1.04))
    noisy = detuning.on_resonance(_estimate("transmitter_efficiency", 0.42, 0.001), correction)
    assert noisy.interval_68 is not None
    below, above = 0.4 - noisy.interval_68[0], noisy.interval_68[1] - 0.4
    assert below == pytest.approx(math.hypot(0.001 / 1.05, 0.4 - 0.42 / 1.08))
    assert above == pytest.approx(math.hypot(0.001 / 1.05, 0.42 / 1.04 - 0.4))


def test_an_interval_of_its_own_is_kept() -> None:
    measured = replace(_estimate("transmitter_efficiency", 0.42, 0.01), interval_68=(0.41, 0.45))
    corrected = detuning.on_resonance(measured, _correction(0.05, 0.0))
    assert corrected.interval_68 == pytest.approx((0.41 / 1.05, 0.45 / 1.05))
    assert corrected.interval_95 is None


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("opening", [None, 0.4])
def test_g2_is_highest_on_resonance(share: float, opening: float | None) -> None:
    """Photons of a dot and leaked laser, counted out: on resonance and with a slower dot."""
    slower, g2 = 0.01, 0.008
    more = 0.0 if opening is None else opening * slower

    def correlation(slower: float, transparency: float) -> float:
        dot, leak = 0.3 * (1 + transparency), 0.3 * 0.5 * share * g2
        again = (1 - share) * g2 / (1 + slower)  # within one pulse, as 1/T1
        return (again * dot**2 + 2 * dot * leak + leak**2) / (dot + leak) ** 2

    correction = detuning.g2_correction(
        _estimate("lifetime_detuning_correction", slower, 0.002),
        None if opening is None else _correction(more, 0.0),
    )
    true = correlation(0.0, 0.0) / correlation(slower, more) - 1
    half = (
        math.sqrt(3) * {c.source: c.u for c in correction.budget}["re-excitation or leaked laser"]
    )
    assert abs(true - correction.value) <= 1.03 * half  # exact at either end but for second order
    assert 0.001 < correction.u < 0.005


def _corrections(line: detuning.FilteredLine | None) -> detuning.DetuningCorrection:
    """Three re-locks of 1 mV offset and no error: the drift alone, 1/3 mV^2 on average."""
    return detuning.DetuningCorrection.from_locks(
        u_voltage_V=np.zeros(3),
        offset_V=np.full(3, 1e-3),
        u_offset_V=np.zeros(3),
        metres_per_volt=PER_VOLT,
        purcell_factor=_estimate("purcell_expected", F0),
        count_fwhm=_estimate("cavity_count_fwhm", FWHM_M * math.sqrt(1 + F0)),
        vibration=_estimate("cavity_vibration", 0.03e-9),
        recorded=LONG,
        line=line,
    )


def test_one_correction_from_relocks_for_lifetime_transmission_and_g2() -> None:
    kappa, fsr, lorentz = 5.4e9, 100e9, 2.1e9
    behind = _corrections(_line(lorentz, 1e3, kappa, fsr))
    square = 0.03e-9**2 + (45e-9 * 1e-3) ** 2 / 3
    x2 = 4 * square / FWHM_M**2
    assert behind.lifetime.value == pytest.approx(x2 * F0 / (1 + F0), rel=1e-6)

    # a Lorentz line much narrower than the spectral range passes a Lorentz filter as k/(k + f);
    # the Airy function's far wings and orders change the ratio by some 5 %
    wider = lorentz * (1 + behind.lifetime.value)
    expected = (kappa + wider) / (kappa + lorentz) - 1
    assert behind.transmission.value == pytest.approx(expected, rel=0.1)
    middle = (behind.lifetime.value + behind.transmission.value) / 2
    assert behind.g2.value == pytest.approx(middle, rel=1e-9)

    fibre = _corrections(None)
    assert fibre.g2.value == pytest.approx(x2 * F0 / (1 + F0) / 2, rel=1e-6)
    with pytest.raises(ValueError, match="line and the etalon"):
        _ = fibre.transmission
