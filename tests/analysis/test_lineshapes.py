"""Line shapes against numerical convolution, exact Voigt widths and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, optimize, special

from qdchar.analysis.models.lineshapes import (
    SIGMA_TO_FWHM,
    airy,
    airy_voigt,
    gauss_ratio,
    mode_share,
    share_of_gauss,
    voigt_fwhm,
    voigt_overlap,
    voigt_parts,
)

FSR, KAPPA, LORENTZ, GAUSS = 100.0, 5.4, 2.1, 1.276  # GHz: the etalon and line of the paper


def _half_width(shape, top: float = 0.5) -> float:
    """Full width at half maximum of a symmetric peak at 0."""
    half = float(shape(0.0)) / 2
    return 2 * optimize.brentq(lambda x: float(shape(x)) - half, 0.0, top, xtol=1e-12)


@pytest.mark.parametrize("fwhm", [0.01, 0.054, 0.3])
def test_airy_has_its_width_exactly_and_repeats(fwhm: float) -> None:
    assert _half_width(lambda x: airy(x, fwhm)) == pytest.approx(fwhm, rel=1e-9)
    assert airy([-3.0, 0.0, 7.0], fwhm) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("lorentz", "gauss"),
    [(LORENTZ, GAUSS), (5.0, 0.0), (0.0, 3.0), (0.0, 69.0), (20.0, 30.0), (0.01, 0.01)],
)
def test_closed_form_is_the_convolution(lorentz: float, gauss: float) -> None:
    """The line integrated numerically over the etalon's period, wrapped around it."""
    detunings = np.array([0.0, 0.7, 2.7, 9.0, 31.0, 50.0])
    nu = np.linspace(-FSR / 2, FSR / 2, 20_001)[:-1]
    step = nu[1] - nu[0]
    # A periodic line: the sum of copies one free spectral range apart, each by its exact profile.
    # Far copies of the Lorentz part: summed in closed form through the wrapped Lorentzian.
    if gauss == 0.0:
        a = np.pi * lorentz / FSR
        line = np.sinh(a) / (np.cosh(a) - np.cos(2 * np.pi * nu / FSR)) / FSR
    else:
        copies = np.arange(-60, 61) * FSR
        line = sum(
            special.voigt_profile(nu + c, gauss / SIGMA_TO_FWHM, lorentz / 2) for c in copies
        )
        # copies beyond 60 orders hold this much of a Lorentz part, evenly
        line = line + lorentz / np.pi / (60.5 * FSR) / FSR
    assert np.sum(line) * step == pytest.approx(1.0, abs=1e-6)
    expected = [np.sum(line * airy((d - nu) / FSR, KAPPA / FSR)) * step for d in detunings]
    got = airy_voigt(detunings / FSR, KAPPA / FSR, lorentz / FSR, gauss / FSR)
    # the sum over a period of a smooth periodic function converges fast; a line much narrower
    # than its step of 5 MHz limits the last case
    assert got == pytest.approx(expected, rel=2e-6)


def test_limit_of_a_narrow_line_is_the_airy_function() -> None:
    x = np.linspace(-1, 1, 41)
    assert airy_voigt(x, 0.054, 0.0, 0.0) == pytest.approx(airy(x, 0.054), abs=1e-12)
    assert airy_voigt(x, 0.054, 1e-9, 1e-9) == pytest.approx(airy(x, 0.054), abs=1e-7)


def test_lorentz_widths_add() -> None:
    """An Airy function and a Lorentz line: again an Airy function up to a factor, exactly."""
    a = np.arcsinh(np.sin(np.pi * KAPPA / FSR / 2)) + np.pi * LORENTZ / FSR / 2
    wide = 2 / np.pi * np.arcsin(np.sinh(a))
    shape = airy_voigt(np.array([0.0, 0.01, 0.3]), KAPPA / FSR, LORENTZ / FSR, 0.0)
    assert shape / shape[0] == pytest.approx(airy([0.0, 0.01, 0.3], float(wide)), rel=1e-10)
    # 3e-3 too wide: sin and sinh of widths that are not small against the free spectral range
    assert wide * FSR == pytest.approx(KAPPA + LORENTZ, rel=4e-3)


def test_overlaps_of_the_paper() -> None:
    """0.706 for the dot (Voigt), 0.72 for a Lorentz line alone, 0.1075 for the laser of 69 GHz.

    By numerical integration of line times one Lorentzian order of the etalon.
    """

    def integral(line) -> float:
        order = lambda x: 1 / (1 + (2 * x / KAPPA) ** 2)  # noqa: E731
        value, _ = integrate.quad(
            lambda x: line(x) * order(x), 0, 5000, limit=500, points=[1, 10, 100]
        )
        return 2 * value

    voigt = integral(lambda x: special.voigt_profile(x, GAUSS / SIGMA_TO_FWHM, LORENTZ / 2))
    lorentz = integral(lambda x: special.voigt_profile(x, 0.0, LORENTZ / 2))
    laser = integral(lambda x: special.voigt_profile(x, 69.0 / SIGMA_TO_FWHM, 0.0))
    assert voigt_overlap(KAPPA, LORENTZ, GAUSS) == pytest.approx(voigt, rel=1e-5)
    assert voigt == pytest.approx(0.706, abs=5e-4)
    assert lorentz == pytest.approx(0.72, abs=1e-3)
    assert voigt_overlap(KAPPA, 0.0, 69.0) == pytest.approx(laser, rel=1e-5)
    assert laser == pytest.approx(0.1075, abs=1e-4)


def test_widths_must_not_be_subtracted() -> None:
    """What a Lorentz fit minus kappa, and quadrature, make of a line of 2.73 GHz."""
    nu = np.linspace(-25, 25, 501)
    scan = airy_voigt(nu / FSR, KAPPA / FSR, LORENTZ / FSR, GAUSS / FSR)

    def lorentz(x, height, width, floor):
        return height / (1 + (2 * x / width) ** 2) + floor

    (_, raw, _), _ = optimize.curve_fit(lorentz, nu, scan, p0=[0.7, 8.0, 0.0])
    assert raw - KAPPA == pytest.approx(2.24, abs=0.1)
    assert np.sqrt(raw**2 - KAPPA**2) == pytest.approx(5.4, abs=0.1)


@pytest.mark.parametrize("lorentz", [0.0, 0.3, 1.0, 2.1, 5.0])
def test_voigt_width_is_good_to_its_promise(lorentz: float) -> None:
    gauss = 1.276
    profile = lambda x: special.voigt_profile(x, gauss / SIGMA_TO_FWHM, lorentz / 2)  # noqa: E731
    exact = _half_width(profile, top=20.0)
    assert voigt_fwhm(lorentz, gauss) == pytest.approx(exact, rel=2.5e-4)


def test_the_two_values_of_table_1() -> None:
    """T1 = 75.8 ps and 2.73 GHz: Fourier limit 2.10 GHz, ratio 1.30, wandering of 0.542 GHz."""
    fourier = 1e-9 / (2 * np.pi * 75.8e-12)
    assert fourier == pytest.approx(2.100, abs=5e-4)
    assert 2.73 / fourier == pytest.approx(1.300, abs=5e-4)
    gauss = optimize.brentq(lambda g: voigt_fwhm(fourier, g) - 2.73, 0.1, 3.0)
    assert gauss / SIGMA_TO_FWHM == pytest.approx(0.542, abs=5e-4)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.769, 0.99])
def test_voigt_parts_and_back(share: float) -> None:
    lorentz, gauss = voigt_parts(2.73, share)
    assert lorentz == pytest.approx(2.73 * share)
    assert voigt_fwhm(lorentz, gauss) == pytest.approx(2.73, rel=1e-12)
    assert share_of_gauss(gauss_ratio(share)) == pytest.approx(share, abs=1e-9)


def test_pure_lorentz_line_has_no_gauss_part() -> None:
    assert gauss_ratio(1.0) == 0.0
    assert share_of_gauss(0.0) == pytest.approx(1.0, abs=1e-5)


def test_count_rate_is_wider_than_the_cavity() -> None:
    width = _half_width(lambda x: mode_share(x, 26.9, 14.0), top=500.0)
    assert width == pytest.approx(26.9 * np.sqrt(15), rel=1e-9)
