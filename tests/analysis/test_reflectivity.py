"""Reflectivity dips: simulated with fringes and camera noise, and a measured micropillar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click_scans import coverage

from qdchar.analysis import reflectivity
from qdchar.cli import run as qdchar
from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.fit import Result

NM_PER_PIXEL, CENTRE_NM = 1 / 45.34942, 924.4782  # the axis that comes with the micropillar's data


def dispersion_of(value: float, u: float) -> Uncertain:
    return Uncertain(value, (Contribution("spectrometer certificate", u, "B"),) if u else ())


def _spectrum(
    rng: np.random.Generator, *, fringe: float = 0.0, noise: float = 0.01, depth: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """A resonance of 24 pixels at 690.3, on light that rises along the camera."""
    x = np.arange(1.0, 1341.0)
    u = 2 * (x - 690.3) / 24.0
    light = (3000 + 5 * x) * (1 + noise * rng.standard_normal(len(x)))
    light = light * (1 + fringe * np.sin(2 * np.pi * x / 12 + rng.uniform(0, 6.28)))
    return x, rng.poisson(light * (1 - (depth - 0.07 * depth * u) / (1 + u**2))).astype(float)


def _fit(spectrum: tuple[np.ndarray, np.ndarray], u_dispersion: float = 0.0) -> Result:
    return reflectivity.analyse(
        *spectrum,
        dispersion=dispersion_of(NM_PER_PIXEL * 1e-9, u_dispersion * 1e-9),
        wavelength_m=CENTRE_NM * 1e-9,
        at_point=670.0,
    )


@pytest.mark.parametrize("fringe", [0.0, 0.015])
def test_intervals_cover(fringe: float) -> None:
    rng = np.random.default_rng(1)
    wavelength = CENTRE_NM + 20.3 * NM_PER_PIXEL
    truth = {
        "cavity_quality_factor": wavelength / (24 * NM_PER_PIXEL),
        "cavity_wavelength": wavelength * 1e-9,
        "reflectivity_contrast": 0.7,
    }

    def run() -> dict[str, Estimate]:
        return {e.name: e for e in _fit(_spectrum(rng, fringe=fringe)).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, truth, 60).items():
        # 60 runs: mean to 0.13, sd to 0.09, coverages to 0.06 and 0.028; three of each.
        # Fringes are no random noise: with them the errors may only be too large.
        assert abs(mean) < 0.4, name
        assert (0.73 if fringe == 0.0 else 0.2) < sd < 1.27, name
        assert at_68 > 0.5, name
        assert at_95 > 0.866, name


def test_micropillar(real_data: Path) -> None:
    """Q of about 1770, whatever part of the wings is fitted; residuals without a dip left."""
    file = real_data / "qd_ascii" / "cavity_reflectivity.txt"
    axis = {
        "dispersion": dispersion_of(NM_PER_PIXEL * 1e-9, 0.0),
        "wavelength_m": CENTRE_NM * 1e-9,
        "at_point": 670.0,
    }
    result = reflectivity.analyse_file(file, **axis)
    q = result["cavity_quality_factor"]
    assert q.value == pytest.approx(1770, abs=1.5 * q.u)
    assert 20 < q.u < 60
    # lambda/Q in hertz: c/(924.8 nm)/1770
    assert result["cavity_fwhm"].value == pytest.approx(299_792_458 / 924.82e-9 / q.value, rel=1e-4)
    curve = result.fits[0].curves[0]
    dip = np.abs(curve.x - 924.82) < 12 * NM_PER_PIXEL
    assert abs(np.mean(curve.residuals[dip])) < 3 * np.std(curve.residuals) / dip.sum() ** 0.5
    assert result.problems == ()


def test_micropillar_on_the_command_line(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, figure = real_data / "qd_ascii" / "cavity_reflectivity.txt", tmp_path / "dip.png"
    axis = ["--wavelength", "924.4782e-9", "--at-pixel", "670"]
    axis += ["--dispersion", str(NM_PER_PIXEL * 1e-9), "0"]
    assert qdchar(["fit", "reflectivity", str(file), *axis, "--figure", str(figure), "--json"]) == 0
    q = json.loads(capsys.readouterr().out.splitlines()[-1])["quantities"]["cavity_quality_factor"]
    assert q["value"] == pytest.approx(1770, abs=1.5 * q["u"])
    low, high = q["interval_95"]
    # a width that is known to 2 % makes Q lean to the high side a little
    assert 1.9 * q["u"] < q["value"] - low < high - q["value"] < 2.2 * q["u"]
    assert figure.stat().st_size > 10_000
    # without its axis a width in pixels is no quality factor
    assert qdchar(["fit", "reflectivity", str(file)]) == UsageError.exit_code


def test_dispersion_is_in_the_budget_and_its_sign_only_turns_the_axis() -> None:
    spectrum = _spectrum(np.random.default_rng(2))
    plain, rough = _fit(spectrum), _fit(spectrum, u_dispersion=0.01 * NM_PER_PIXEL)
    part = {c.source: c.u for c in rough["cavity_quality_factor"].budget}
    q = plain["cavity_quality_factor"].value
    assert abs(part["spectrometer certificate"]) == pytest.approx(0.01 * q, rel=0.01)
    turned = reflectivity.analyse(
        *spectrum,
        dispersion=dispersion_of(-NM_PER_PIXEL * 1e-9, 0.0),
        wavelength_m=CENTRE_NM * 1e-9,
        at_point=670.0,
    )
    assert turned["cavity_quality_factor"].value == pytest.approx(q, rel=2e-3)
    assert turned["cavity_wavelength"].value < CENTRE_NM * 1e-9


def test_file_with_wavelengths_needs_no_axis(tmp_path: Path) -> None:
    x, counts = _spectrum(np.random.default_rng(4))
    file = tmp_path / "spectrum.csv"
    nm = CENTRE_NM + (x - 670.0) * NM_PER_PIXEL
    rows = "\n".join(f"{w:.6f},{c:.0f}" for w, c in zip(nm, counts, strict=True))
    file.write_text("wavelength_nm,counts\n" + rows + "\n")
    read, by_pixel = reflectivity.analyse_file(file), _fit((x, counts))
    for name in ("cavity_quality_factor", "cavity_wavelength"):
        # written to 1e-6 nm of a width of 0.5 nm
        assert read[name].value == pytest.approx(by_pixel[name].value, rel=1e-5)
        assert read[name].u == pytest.approx(by_pixel[name].u, rel=1e-2)
    with pytest.raises(UsageError, match="do not give an axis"):
        reflectivity.analyse_file(file, at_point=670.0)


def test_unusable_data_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(InconclusiveError, match="no significant dip"):
        _fit(_spectrum(rng, depth=0.0))
    with pytest.raises(RecordError, match="at least 20 points"):
        _fit((np.arange(5.0), np.ones(5)))
    axis = {"dispersion": dispersion_of(1e-11, 0.0), "wavelength_m": 9e-7, "at_point": 1.0}
    bad = tmp_path / "bad.txt"
    bad.write_text("1 2 3\n4 5 6\n")
    with pytest.raises(RecordError, match="two columns"):
        reflectivity.analyse_file(bad, **axis)
    bad.write_text("pixel counts\n")
    with pytest.raises(RecordError, match="no data"):
        reflectivity.analyse_file(bad, **axis)


@pytest.mark.parametrize("phase", [0.5, 2.0, 3.6])
@pytest.mark.parametrize(("size", "period_nm"), [(0.05, 0.7), (0.02, 0.7), (0.05, 0.3)])
def test_fringes_of_a_window_are_no_part_of_the_dip(
    size: float, period_nm: float, phase: float
) -> None:
    rng = np.random.default_rng(int(1000 * size + 10 * phase))
    nm = np.linspace(929.0, 931.0, 512)
    dip = 1 - 0.7 / (1 + (2 * (nm - 930.0) / 0.15) ** 2)
    light = 1 + size * np.cos(2 * np.pi * (nm - 930.0) / period_nm + phase)
    found = reflectivity.analyse(
        nm,
        rng.poisson(20_000 * dip * light),
        dispersion=Uncertain(1e-9),
        wavelength_m=0.0,
        at_point=0.0,
    )
    quality = found["cavity_quality_factor"]
    assert not found.problems
    assert abs(quality.value - 6200) < 3 * min(quality.u, 60)
    assert "fringes of" in quality.method


@pytest.mark.parametrize("resolution_nm", [0.08, 0.12])
def test_a_dip_that_a_spectrometer_broadens_is_no_lorentzian(resolution_nm: float) -> None:
    rng = np.random.default_rng(round(1000 * resolution_nm))
    nm = np.linspace(929.0, 931.0, 512)
    # the response by many spectra beside one another, not by the profile's closed form
    shifts = resolution_nm / 2.3548 * rng.standard_normal(20_000)[:, None]
    dip = np.mean(1 / (1 + (2 * (nm - 930.0 - shifts) / 0.15) ** 2), axis=0)
    found = reflectivity.analyse(
        nm,
        rng.poisson(20_000 * (1 - 0.7 * dip)),
        dispersion=Uncertain(1e-9),
        wavelength_m=0.0,
        at_point=0.0,
    )
    quality = found["cavity_quality_factor"]
    assert "broadened by a Gaussian" in found.problems[0]
    assert abs(quality.value - 6200) < 3 * min(quality.u, 200)
