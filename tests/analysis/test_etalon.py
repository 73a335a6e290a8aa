"""Etalon scans simulated from the formulas, with known truth."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, Array, continuous, coverage, given, pulsed

from qdchar.analysis import etalon
from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import Scan, ScanWriter
from qdchar.roles import Counts

FSR, KAPPA, LORENTZ, GAUSS = 100e9, 5.4e9, 2.1e9, 1.276e9  # Hz
LINE = 2.730e9
DEAD_S, DARK_HZ, BLIND = 30e-9, 43.0, 2
LEAK, PUMP = 0.00812, 69e9


def _periodic(nu: Array, width: float, gauss: float, kappa: float = KAPPA) -> Array:
    """Share of a line that the etalon passes: the Fourier series of both, 400 terms."""
    k = np.arange(1, 400)
    a = math.asinh(math.sin(math.pi * kappa / FSR / 2))
    sigma = gauss / FSR / math.sqrt(8 * math.log(2))
    terms = np.exp(-2 * a * k - math.pi * k * width / FSR - 2 * (math.pi * k * sigma) ** 2)
    return math.tanh(a) * (1 + 2 * np.cos(2 * math.pi * np.outer(nu, k)) @ terms)


def _order(volts: Array, bend: tuple[float, float] = (0.06, 0.03)) -> Array:
    """1.8 GHz per volt around 75 V, slightly bent."""
    u = (volts - 75) / 150
    return 1.8e9 / FSR * (volts - 75) * (1 + bend[0] * u + bend[1] * u**2)


def _scans(
    rng: np.random.Generator,
    *,
    volts: Array | None = None,
    bend: tuple[float, float] = (0.06, 0.03),
    lorentz: float = LORENTZ,
    gauss: float = GAUSS,
    brightness: float = 0.125,
    dwell_s: float = 0.01,
    offset: float = 0.13,
    leak: float = LEAK,
    flicker: float = 0.0,
    mode: float = 1.0,
) -> tuple[Scan, Scan]:
    volts = np.arange(0, 150, 0.7) if volts is None else volts
    nu = _order(volts, bend) - offset
    light = _periodic(nu, lorentz, gauss) + leak * _periodic(nu, 0, PUMP)
    light = light * (1 + flicker * rng.standard_normal(len(volts)))
    p = brightness * light + DARK_HZ / 2 / CLOCK_HZ
    source = pulsed(rng, "voltage_V", volts, (0.96 * p, 1.04 * p), dwell_s, BLIND)
    rate = 1.4e6 * _periodic(_order(volts, bend) + 0.05, 0, 0, mode * KAPPA) + DARK_HZ
    return continuous(rng, volts, rate, 0.02, DEAD_S), source


def _fit(scans: tuple[Scan | None, Scan], fsr: Estimate | None = None, **more) -> Result:
    return etalon.analyse(
        *scans,
        fsr=fsr or given("etalon_fsr", FSR, 0.0),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=BLIND,
        dead_time=given("dead_time", DEAD_S, 0.0),
        dark_count_rate_Hz=DARK_HZ,
        **more,
    )


def test_intervals_cover() -> None:
    """100 scans over 2.7 orders, with a bent piezo, laser leak, dead time and dark counts."""
    rng = np.random.default_rng(13)
    truth = {
        "linewidth": LINE,
        "linewidth_lorentz": LORENTZ,
        "linewidth_gauss": GAUSS,
        "etalon_fwhm": KAPPA,
        "etalon_finesse": FSR / KAPPA,
    }

    def run() -> dict[str, Estimate]:
        return {e.name: e for e in _fit(_scans(rng)).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, truth, 100).items():
        # 100 runs: mean to 0.1, sd to 0.07, coverages to 0.047 and 0.022; three of each
        assert abs(mean) < 0.3, name
        assert 0.8 < sd < 1.2, name
        assert 0.54 < at_68 < 0.83, name
        assert at_95 > 0.885, name


def test_a_dead_time_not_well_known_is_in_the_etalon_s_budget() -> None:
    """What it adds is what the width changes by with a dead time that is told to be so much off."""
    scans = _scans(np.random.default_rng(14), dwell_s=0.1)

    def width(told: Estimate) -> Estimate:
        return etalon.analyse(
            *scans,
            dead_time=told,
            fsr=given("etalon_fsr", FSR, 0.0),
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=BLIND,
            dark_count_rate_Hz=DARK_HZ,
        )["etalon_fwhm"]

    right, longer = (given("dead_time", t, 0.0) for t in (DEAD_S, DEAD_S + 5e-9))
    aware = width(given("dead_time", DEAD_S, 5e-9))
    by_dead_time = {c.source: c.u for c in aware.budget}["dead_time certificate"]
    assert by_dead_time == pytest.approx(width(longer).value - width(right).value, rel=0.05)
    assert aware.u == pytest.approx(math.hypot(width(right).u, by_dead_time), rel=0.02)
    assert abs(by_dead_time) > 0.5 * width(right).u


@pytest.mark.parametrize("mode", [0.8, 1.25])
def test_the_etalon_may_be_wider_for_the_narrow_laser(mode) -> None:
    """All widths are those for the source; the budget's line is what another certificate finds."""
    scans = _scans(np.random.default_rng(15), dwell_s=0.1, mode=mode)
    names = ("etalon_fwhm", "linewidth_lorentz", "linewidth")
    aware = _fit(scans, mode=given("etalon_mode", mode, 0.01))
    for name, true in zip(names, (KAPPA, LORENTZ, LINE), strict=True):
        assert abs(aware[name].value - true) < 4 * aware[name].u, name
    assert aware["etalon_finesse"].value == pytest.approx(FSR / aware["etalon_fwhm"].value)
    up, down = (_fit(scans, mode=given("etalon_mode", mode + d, 0.0)) for d in (0.01, -0.01))
    for name in names:
        by_mode = {c.source: c.u for c in aware[name].budget}["etalon_mode certificate"]
        found = 0.5 * (up[name].value - down[name].value)
        # the scan of the source knows a little of the etalon's width itself
        assert by_mode == pytest.approx(found, rel=0.1), name
        assert abs(by_mode) > aware[name].u_statistical, name


def test_table_1_of_the_paper_comes_back() -> None:
    """T1 = 75.8 ps and 2.73 GHz: Fourier limit 2.10 GHz, ratio 1.30."""
    lifetime = given("lifetime", 75.8e-12, 0.3e-12)
    result = _fit(_scans(np.random.default_rng(2), dwell_s=0.5), lifetime=lifetime)
    line, limit, ratio = (result[n] for n in ("linewidth", "fourier_linewidth", "linewidth_ratio"))
    assert line.value == pytest.approx(LINE, abs=3 * line.u)
    assert line.u < 0.01 * LINE
    assert limit.value == pytest.approx(2.100e9, abs=1e6)
    assert ratio.value == pytest.approx(1.300, abs=3 * ratio.u)
    assert ratio.u == pytest.approx(ratio.value * math.hypot(line.u / line.value, 0.3 / 75.8))
    assert result.problems == ()


@pytest.mark.parametrize(
    ("volts", "bend", "offset"),
    [
        (np.arange(0, 120, 0.8), (0.0, 0.0), 0.45),
        (np.arange(0, 120, 0.8), (-0.1, 0.0), -0.3),
        (np.arange(149, 20, -0.8), (0.06, 0.03), 0.02),
        (np.arange(0, 150, 2.0), (0.06, 0.03), 0.8),
        (-np.arange(0, 150, 0.8), (0.0, 0.0), 0.3),
    ],
    ids=["straight", "bent", "downward", "coarse", "negative volts"],
)
def test_starts_come_from_the_data(volts: Array, bend: tuple[float, float], offset: float) -> None:
    scans = _scans(np.random.default_rng(3), volts=volts, bend=bend, offset=offset, dwell_s=0.05)
    result = _fit(scans)
    for name, true in (("linewidth", LINE), ("etalon_fwhm", KAPPA)):
        assert abs(result[name].value - true) < 4 * result[name].u, name
        assert result[name].u < 0.05 * true


@pytest.mark.parametrize("apart", [-0.003, -0.0005, 0.001])
def test_peaks_of_both_scans_at_the_same_voltages_leave_the_bend_open(apart: float) -> None:
    volts = np.arange(12, 150, 0.35)
    result = _fit(_scans(np.random.default_rng(4), volts=volts, offset=-0.05 + apart))
    assert result["linewidth"].value == pytest.approx(LINE, abs=4 * result["linewidth"].u)
    assert result.problems == ()


def test_frequency_falling_with_voltage_is_the_same() -> None:
    """A Fabry-Perot scan has no sign: mirrored, it gives the same widths."""
    narrow, source = _scans(np.random.default_rng(4))
    plain = _fit((narrow, source))
    mirrored = _fit((replace(narrow, x=150 - narrow.x), replace(source, x=150 - source.x)))
    assert mirrored["linewidth"].value == pytest.approx(plain["linewidth"].value, rel=1e-5)


def test_the_scale_is_the_certificate_s() -> None:
    scans = _scans(np.random.default_rng(5))
    certificate = given("etalon_fsr", 1.01 * FSR, 0.002 * FSR)
    plain, scaled = _fit(scans), _fit(scans, fsr=certificate)
    for name in ("linewidth", "linewidth_lorentz", "linewidth_gauss", "etalon_fwhm"):
        assert scaled[name].value == pytest.approx(1.01 * plain[name].value, rel=1e-9)
        part = {c.source: c.u for c in scaled[name].budget}["etalon_fsr certificate"]
        assert part == pytest.approx(0.002 * plain[name].value, rel=1e-6)
    assert scaled["etalon_finesse"].value == plain["etalon_finesse"].value
    assert scaled["etalon_fsr"].value == certificate.value


def test_given_etalon_width_in_place_of_the_narrow_laser() -> None:
    """A certificate of 1 % costs the Lorentz part 0.054 GHz: their widths add."""
    scans = _scans(np.random.default_rng(6), dwell_s=0.2)
    kappa = given("etalon_fwhm", KAPPA, 0.01 * KAPPA)
    result = _fit((None, scans[1]), kappa=kappa)
    line = result["linewidth_lorentz"]
    assert abs(line.value - LORENTZ) < 3 * line.u
    part = {c.source: c.u for c in line.budget}["etalon_fwhm certificate"]
    assert part == pytest.approx(-0.01 * KAPPA, rel=0.25)


def test_a_line_without_gauss_or_lorentz_part_has_one_sided_intervals() -> None:
    rng = np.random.default_rng(7)
    for lorentz, gauss, name in ((2.1e9, 0.0, "linewidth_gauss"), (0.0, 3e9, "linewidth_lorentz")):
        result = _fit(_scans(rng, lorentz=lorentz, gauss=gauss))
        e = result[name]
        assert e.interval_68 is not None
        assert e.interval_95 is not None
        assert e.interval_95[0] <= 0.0 < e.interval_95[1] < 1.5e9
        # 3 sigma: two draws
        full = result["linewidth"]
        assert abs(full.value - max(lorentz, gauss)) < 3 * full.u


def test_park_at_the_source_s_peak() -> None:
    result = _fit(_scans(np.random.default_rng(8), offset=0.13))
    e = result["etalon_peak_voltage"]
    volts = np.linspace(0, 150, 1_500_001)
    peaks = volts[np.flatnonzero(np.diff(np.floor(_order(volts) - 0.13)))]
    nearest = peaks[np.argmin(np.abs(peaks - 75))]
    assert abs(e.value - nearest) < 4 * e.u
    assert e.u < 0.02


def test_detuned_cavity_is_allowed_for() -> None:
    """The lifetime was 2 % longer during the scan: the radiative width 2 % smaller."""
    lifetime = given("lifetime", 75.8e-12, 0.0)
    excess = given("lifetime_detuning_correction", 0.02, 0.01)
    scans = _scans(np.random.default_rng(9), lorentz=LORENTZ / 1.02, dwell_s=0.1)
    plain = _fit(scans, lifetime=lifetime)
    moved = _fit(scans, lifetime=lifetime, detuning_correction=excess)
    step = moved["linewidth_lorentz"].value - plain["linewidth_lorentz"].value
    assert step == pytest.approx(0.02 * 2.1e9, rel=1e-3)
    # fV follows fL with 0.5346 + 0.2166 fL/(fV - 0.5346 fL) = 0.83 here
    follows = (moved["linewidth"].value - plain["linewidth"].value) / step
    assert follows == pytest.approx(0.83, abs=0.03)
    part = {c.source: c.u for c in moved["linewidth_lorentz"].budget}[
        "lifetime_detuning_correction certificate"
    ]
    assert part == pytest.approx(0.01 * 2.1e9, rel=1e-3)
    assert abs(moved["linewidth"].value - LINE) < 3 * moved["linewidth"].u


def test_intervals_near_a_bound_hold_what_the_detuning_leaves_uncertain() -> None:
    lifetime = given("lifetime", 75.8e-12, 0.0)
    scans = _scans(np.random.default_rng(7), gauss=0.0)
    plain = _fit(scans, lifetime=lifetime)["linewidth_lorentz"]
    excess = given("lifetime_detuning_correction", 0.02, 0.05)
    moved = _fit(scans, lifetime=lifetime, detuning_correction=excess)["linewidth_lorentz"]
    for k, before, after in (
        (1.0, plain.interval_68, moved.interval_68),
        (1.96, plain.interval_95, moved.interval_95),
    ):
        assert before is not None
        assert after is not None
        for end, end_moved in zip(before, after, strict=True):
            own, detuning = end - plain.value, k * 0.05 * 2.1e9
            assert abs(end_moved - moved.value) == pytest.approx(math.hypot(own, detuning), 1e-3)


def test_blinking_is_noise_and_a_drift_is_a_problem() -> None:
    """15 % brightness noise of the source from point to point; the narrow laser does not blink."""
    rng = np.random.default_rng(12)
    pulls = []
    for _ in range(8):
        result = _fit(_scans(rng, flicker=0.15))
        e = result["linewidth"]
        low, high = e.interval_68 or (e.value - e.u, e.value + e.u)
        pulls.append((e.value - LINE) / (0.5 * (high - low)))
        assert result.problems == ()
        assert result["etalon_fwhm"].u < 0.01 * KAPPA
    assert float(e.method.split("noise of ")[1].split()[0]) == pytest.approx(0.15, rel=0.2)
    assert 0.3 < np.std(pulls) < 1.8  # three standard errors of 8
    narrow, source = _scans(rng)
    fading = np.linspace(1.0, 0.8, len(source))[:, None]
    faded = replace(source, clicks=np.rint(source.clicks * fading).astype(np.int64))
    assert "drifted or jumped" in _fit((narrow, faded)).problems[0]


def test_from_files(tmp_path: Path) -> None:
    scans = _scans(np.random.default_rng(10))
    files = []
    for name, scan in zip(("narrow", "source"), scans, strict=True):
        files.append(tmp_path / f"{name}.csv")
        with ScanWriter(files[-1], "voltage_V", scan.about) as writer:
            for x, (a, b), dwell in zip(scan.x, scan.clicks, scan.dwell_s, strict=True):
                writer.add(float(x), Counts((int(a), int(b)), float(dwell)))
    from_file = etalon.analyse_file(
        files[1],
        narrow=files[0],
        fsr=given("etalon_fsr", FSR, 0.0),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=BLIND,
        dead_time=given("dead_time", DEAD_S, 0.0),
        dark_count_rate_Hz=DARK_HZ,
    )
    assert from_file["linewidth"].value == pytest.approx(_fit(scans)["linewidth"].value, rel=1e-9)


def test_unusable_data_are_refused() -> None:
    rng = np.random.default_rng(11)
    narrow, source = _scans(rng)
    with pytest.raises(UsageError, match="one of the two"):
        _fit((None, source))
    with pytest.raises(UsageError, match="not be 0"):
        _fit((None, source), kappa=given("etalon_fwhm", KAPPA, 0.0))
    with pytest.raises(UsageError, match="not possible"):
        _fit((narrow, source), fsr=given("etalon_fsr", -1.0, 0.1))
    with pytest.raises(UsageError, match="needs the lifetime"):
        _fit(
            (narrow, source), detuning_correction=given("lifetime_detuning_correction", 0.01, 0.01)
        )
    with pytest.raises(RecordError, match="voltage_V"):
        _fit((narrow, replace(source, x_name="power_W")))
    with pytest.raises(InconclusiveError, match="how many volts an order takes"):
        _fit(_scans(rng, volts=np.arange(55, 100, 0.7)))
    with pytest.raises(InconclusiveError, match="at least two orders"):
        _fit(_scans(rng, volts=np.arange(20, 60, 0.7)))
    with pytest.raises(InconclusiveError, match="one voltage"):
        _fit((replace(narrow, x=0 * narrow.x), replace(source, x=0 * source.x)))


def test_two_lines_are_told_from_one() -> None:
    """Two lines, 3 GHz apart: not one of 5 GHz with a wide Gauss part."""
    rng = np.random.default_rng(15)
    volts = np.arange(0, 150, 0.7)
    nu = _order(volts) - 0.13
    half = 1.5e9 / FSR
    light = 0.5 * (_periodic(nu - half, LORENTZ, GAUSS) + _periodic(nu + half, LORENTZ, GAUSS))
    p = 0.125 * light + DARK_HZ / 2 / CLOCK_HZ
    source = pulsed(rng, "voltage_V", volts, (0.96 * p, 1.04 * p), 0.02, BLIND)
    result = _fit((_scans(rng)[0], source))
    assert re.search(r"two lines, (2.9|3.0)\d \+- 0.0\d GHz apart", result.problems[0])
    for name, right in (
        ("line_splitting", 3e9),
        ("linewidth", LINE),
        ("linewidth_lorentz", LORENTZ),
        ("linewidth_gauss", GAUSS),
    ):
        assert result[name].value == pytest.approx(right, abs=3 * result[name].u), name
    assert result["line_splitting"].u < 0.1e9
    assert result["linewidth"].u < 0.3e9
