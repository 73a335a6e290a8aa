"""Closed forms of the simulated lab's optics against quadrature and published numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr, voigt_profile

from qdchar.drivers.twin import optics
from qdchar.drivers.twin.lab import Lab
from qdchar.drivers.twin.light import LightModel
from qdchar.drivers.twin.truth import Truth


def test_voigt_width_inverts_and_meets_its_limits() -> None:
    assert optics.voigt_fwhm(2e9, 0.0) == 2e9
    assert optics.voigt_fwhm(1.0, 1e9) == pytest.approx(2.3548e9, rel=1e-4)
    for sigma in (1e6, 0.542e9, 5e9):
        width = optics.voigt_fwhm(2.1e9, sigma)
        assert optics.voigt_sigma(width, 2.1e9) == pytest.approx(sigma, rel=1e-5)
        half = voigt_profile(0.5 * width, sigma, 1.05e9) / voigt_profile(0.0, sigma, 1.05e9)
        assert half == pytest.approx(0.5, rel=1e-8)
    assert optics.voigt_sigma(2.1e9, 2.1e9) == 0.0
    with pytest.raises(ValueError, match="cannot have a Lorentzian"):
        optics.voigt_sigma(2.0e9, 2.1e9)


@pytest.mark.parametrize(("lorentz_GHz", "sigma_GHz"), [(2.1, 0.542), (2.1, 0.0), (0.3, 29.3)])
@pytest.mark.parametrize("nu_GHz", [0.0, 3.0, 40.0])
def test_etalon_transmission_is_the_convolution(
    lorentz_GHz: float, sigma_GHz: float, nu_GHz: float
) -> None:
    """The Airy function times the line, integrated numerically."""
    fsr, fwhm = 100.0, 5.4
    coefficient = 1.0 / np.sin(0.5 * np.pi * fwhm / fsr) ** 2
    x = np.linspace(-20_000.0, 20_000.0, 4_000_001)
    airy = 1.0 / (1.0 + coefficient * np.sin(np.pi * (nu_GHz - x) / fsr) ** 2)
    line = voigt_profile(x, sigma_GHz, 0.5 * lorentz_GHz)
    expected = np.trapezoid(airy * line, x)
    found = optics.etalon_transmission(nu_GHz, fsr, fwhm, lorentz_GHz, sigma_GHz)
    assert float(found) == pytest.approx(expected, abs=1e-5)  # what the line has beyond 20 THz


def test_etalon_alone_is_the_airy_function_of_its_width() -> None:
    found = optics.etalon_transmission([0.0, 2.7, 50.0, 97.3, 100.0], 100.0, 5.4, 0.0, 0.0)
    floor = np.sin(0.5 * np.pi * 5.4 / 100.0) ** 2
    assert found == pytest.approx([1.0, 0.5, floor / (1.0 + floor), 0.5, 1.0], abs=1e-9)


def test_excitation_at_pi_and_its_maximum() -> None:
    """Damping 0.012: 0.944 at pi; the maximum is at 0.977 pi, its power 4.6 % below."""
    assert float(optics.excitation(np.pi, 0.012)) == pytest.approx(0.944, abs=5e-4)
    top = optics.brightest_area(0.012) / np.pi
    assert top == pytest.approx(0.977, abs=5e-4)
    assert 1.0 - top**2 == pytest.approx(0.046, abs=5e-4)
    around = optics.excitation(np.pi * (top + np.array([-1e-3, 0.0, 1e-3])), 0.012)
    assert np.argmax(around) == 1
    assert optics.brightest_area(0.0) == pytest.approx(np.pi)


def test_reexcitation_by_quadrature() -> None:
    """At pi the integral is 1/4 of sin^2 theta, which for a Gaussian pulse is 1.030 sqrt(2)."""

    def integral(area: float) -> float:
        def both(x: float) -> float:
            done = area * ndtr(x)
            return float(np.sin(0.5 * done) ** 2 * np.sin(0.5 * (area - done)) ** 2)

        return quad(both, -8, 8, epsabs=1e-11, limit=400)[0]

    at_pi = integral(np.pi)
    assert 4.0 * at_pi == pytest.approx(1.030 * np.sqrt(2.0), rel=1e-3)
    # 6.4 ps: the field's standard deviation is sqrt(2) times the intensity's
    sigma_ps = np.sqrt(2.0) * 6.4 / np.sqrt(8.0 * np.log(2.0))
    assert at_pi * sigma_ps / 75.8 == pytest.approx(0.0185, rel=0.02)
    for area in (0.3, 2.0, 2 * np.pi, 9.0, 20.0):
        assert float(optics.reexcitation(area)) == pytest.approx(
            integral(area) / at_pi, rel=2e-4, abs=1e-9
        )
    with pytest.raises(ValueError, match="table ends"):
        optics.reexcitation(50.0)


def test_purcell_factor_over_orders() -> None:
    fsr, finesse = 442.25e-9, 580.0
    half = 0.5 * fsr / finesse
    found = optics.purcell_factor([0.0, half, -half, fsr, 3 * fsr + half], 14.0, finesse, fsr)
    assert found == pytest.approx([14.0, 7.0, 7.0, 14.0, 7.0], rel=1e-4)


def test_the_dark_counts_are_those_of_both_detectors_together() -> None:
    model = LightModel.__new__(LightModel)  # no light is needed
    model.errors = Lab(Truth(), 1).errors
    model.truth = Truth.from_settings({"detector.dark_count_rate": "57"})
    model.settings = SimpleNamespace(path="blocked", switched_dB=0.0, switched_s=0.0)  # type: ignore[assignment]
    dark = model.steady_Hz(SimpleNamespace(steady_Hz=0.0))  # type: ignore[arg-type]
    assert sum(dark) == pytest.approx(57.0)
