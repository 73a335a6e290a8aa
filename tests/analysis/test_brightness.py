from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, A, B, Light, record

from qdchar.analysis import brightness
from qdchar.analysis.detection.reception import Reception
from qdchar.analysis.statistics.jackknife import jackknife
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, covariance
from qdchar.tags import open_tags

SOURCE = Light()
RUNS = 100


def given(name: str, value: float, u: float) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method="given",
        budget=(Contribution(name, u, "B"),),
    )


ETA = given("detector_efficiency", 0.712, 1e-12)  # so that only counting is left
DARKS = given("dark_count_rate", 43.0, 1.0)


def photons(run: object, **options: object) -> Estimate:
    result = brightness.analyse(run, detector_efficiency=ETA, dark_count_rate=DARKS, **options)
    return result["collection_efficiency"]


@pytest.mark.parametrize("dead_ns", [0.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize("split", [0.5, 0.35])
def test_dead_time_drops_out(tmp_path: Path, dead_ns: float, split: float) -> None:
    rng = np.random.default_rng(1)
    light = replace(SOURCE, dead_ps=1e3 * dead_ns, split=split)
    n = photons(record(tmp_path, "run", rng, 3_000_000, light))
    assert "live gating" in n.method
    assert n.value == pytest.approx(0.712, abs=3 * n.u)
    assert n.u < 0.002
    # the continuous-wave formula r/(1 - r td) is far outside for the longer dead times
    tags = open_tags(tmp_path / "run.h5")
    clicks = np.concatenate([np.bincount(c.channels, minlength=8)[None] for c in tags.chunks()])
    rate = clicks.sum(axis=0)[[A, B]] / tags.duration_s
    cw = (rate / (1 - rate * dead_ns * 1e-9)).sum() * PERIOD_PS * 1e-12 / 0.712
    if dead_ns >= 30.0:
        assert cw > 0.712 + 20 * n.u


def test_two_photons_on_one_detector_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    light = replace(SOURCE, mean_photons=0.5, g2=0.5, dead_ps=0.0)
    n = photons(record(tmp_path, "run", rng, 3_000_000, light))
    assert n.value == pytest.approx(0.5, abs=3 * n.u)
    # clicks alone would miss p2 (a^2 + b^2) of (a + b) <n>
    missed = 0.0625 * 2 * 0.356**2 / 0.712
    assert missed > 10 * n.u


def test_dark_counts_are_subtracted(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    light = replace(SOURCE, mean_photons=0.01, dark_hz=100_000.0)
    run = record(tmp_path, "run", rng, 3_000_000, light)
    darks = given("dark_count_rate", 100_000.0, 500.0)
    with_darks = brightness.analyse(run, detector_efficiency=ETA)["collection_efficiency"]
    result = brightness.analyse(run, detector_efficiency=ETA, dark_count_rate=darks)
    n = result["collection_efficiency"]
    assert n.value == pytest.approx(0.01, abs=3 * n.u)
    assert with_darks.value > 0.01 + 10 * n.u
    # their uncertainty is shared with whatever else rests on the same dark count run
    (shared,) = [c.u for c in n.budget if c.source == "dark_count_rate"]
    assert shared == pytest.approx(-500.0 * PERIOD_PS * 1e-12 / 0.712, rel=0.01)


RECEPTION = Reception(
    path="before",
    loss=given("path_before", 0.8, 0.04),
    repeatability=given("light_path_repeatability", 0.03, 0.0),
    polarisation=given("detector_polarisation", 0.1, 0.0),
    linearity=given("detector_linearity", 0.0, 0.0),
    certified_rate=given("detector_efficiency_rate", 3e5, 0.0),
)


def test_certificate_is_one_shared_error_of_type_b(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    runs = [record(tmp_path, f"run{i}", rng, 300_000, SOURCE) for i in range(2)]
    eta = given("detector_efficiency", 0.712, 0.0178)
    a, b = (
        brightness.analyse(run, detector_efficiency=eta, reception=RECEPTION)[
            "collection_efficiency"
        ]
        for run in runs
    )
    # certificate, 0.04 dB, and 10 % of polarisation on two detectors of which each has half
    of_polarisation = 0.1 / np.sqrt(12) / np.sqrt(2)
    of_loss = 10**0.004 - 1
    switching = 10**0.003 - 1
    expected = np.sqrt(0.025**2 + of_loss**2 + of_polarisation**2 + switching**2)
    assert a.u / a.value == pytest.approx(expected, rel=0.02)
    assert a.u_statistical < 0.15 * a.u
    # all but counting and switching is common to both
    shared = covariance([a, b])[0, 1] / a.value / b.value
    assert shared == pytest.approx(expected**2 - switching**2, rel=0.05)


def test_photons_lost_on_the_way_and_by_the_click_rate_are_counted(tmp_path: Path) -> None:
    """0.8 dB keep 83.18 % of the photons; -2 % per Mcps at the rates of this run do the rest."""
    run = record(tmp_path, "run", np.random.default_rng(5), 300_000, SOURCE)
    eta = given("detector_efficiency", 0.712, 0.0178)
    plain = brightness.analyse(run, detector_efficiency=eta)["collection_efficiency"]
    change = given("detector_linearity", -2e-8, 1e-9)
    through = brightness.analyse(
        run, detector_efficiency=eta, reception=replace(RECEPTION, linearity=change)
    )["collection_efficiency"]
    tags = open_tags(tmp_path / "run.h5")
    clicks = np.sum([np.bincount(c.channels, minlength=8) for c in tags.chunks()], axis=0)
    a, b = clicks[[A, B]]
    rate_a, rate_b = a / tags.duration_s, b / tags.duration_s
    mean_Hz = (a * rate_a + b * rate_b) / (a + b)
    keeps = 0.8318 * (1.0 - 2e-8 * (mean_Hz - 3e5))
    assert through.value / plain.value == pytest.approx(1.0 / keeps, rel=2e-3)
    line = {c.source: c.u for c in through.budget}
    u_change = -1e-9 * (mean_Hz - 3e5) / (1.0 - 2e-8 * (mean_Hz - 3e5)) * through.value
    assert line["detector_linearity"] == pytest.approx(u_change, rel=0.02)


def test_first_look_at_counting_noise(tmp_path: Path) -> None:
    # binomial: of N_L live pulses each clicks with probability p, or twice with p_AB
    rng = np.random.default_rng(5)
    light = replace(SOURCE, dead_ps=0.0)
    n = photons(record(tmp_path, "run", rng, 1_000_000, light))
    p = 0.712 * 0.712
    assert n.u_statistical * 0.712 == pytest.approx(np.sqrt(p * (1 - p) / 1e6), rel=0.2)


@pytest.mark.parametrize(
    ("light", "pulses"),
    [
        (SOURCE, 200_000),
        (replace(SOURCE, mean_photons=0.292, g2=0.00698), 200_000),
        (replace(SOURCE, mean_photons=0.02), 300_000),
    ],
    ids=["fibre", "transmitter output", "faint"],
)
def test_intervals_cover(tmp_path: Path, light: Light, pulses: int) -> None:
    rng = np.random.default_rng(6)
    pulls = []
    for i in range(RUNS):
        n = photons(record(tmp_path, f"run{i}", rng, pulses, light))
        pulls.append((n.value - light.mean_photons) / n.u)
    inside = [np.mean(np.abs(pulls) < k) for k in (1.0, 1.96)]
    # 3 standard deviations of a binomial of 100 trials; the larger of two errors covers a bit more
    assert 0.54 < inside[0] < 0.85
    assert inside[1] > 0.89
    assert abs(np.mean(pulls)) < 3 / np.sqrt(RUNS)


def test_blinking_remedy_covers(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    light = replace(SOURCE, mean_photons=0.534, on_fraction=0.75, blink_pulses=1000.0)
    values, pulls = [], []
    for i in range(30):
        n = photons(record(tmp_path, f"run{i}", rng, 400_000, light))
        assert "on-fraction" in n.method
        assert "telegraph" in " ".join(c.source for c in n.budget)
        values.append(n.value)
        pulls.append((n.value - 0.534) / n.u)
    # live gating would be 26 % low, the pulsed formula without the on-fraction 11 %
    assert np.mean(values) == pytest.approx(0.534, abs=3 * np.std(values) / np.sqrt(30))
    assert np.mean(np.abs(pulls) < 1) > 0.5
    assert np.mean(np.abs(pulls) < 2) > 0.85


def test_blinking_of_a_faint_source_needs_no_remedy(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    light = replace(SOURCE, mean_photons=0.004, on_fraction=0.75)
    n = photons(record(tmp_path, "run", rng, 3_000_000, light))
    assert "live gating" in n.method
    assert n.value == pytest.approx(0.004, abs=3 * n.u)


def test_drift_is_averaged_and_enters_the_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    steady = photons(record(tmp_path, "steady", rng, 1_000_000, SOURCE))
    n = photons(record(tmp_path, "drift", rng, 1_000_000, replace(SOURCE, drift=0.05)))
    assert n.value == pytest.approx(0.712, abs=3 * n.u)
    assert n.u > 1.5 * steady.u


def test_clock_rate_is_that_of_the_sync(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    run = record(tmp_path, "run", rng, 1_000_000, SOURCE)
    clock = brightness.analyse(run, detector_efficiency=ETA)["clock_rate"]
    assert clock.value == pytest.approx(1e12 / PERIOD_PS, abs=3 * clock.u)
    # sync tags with 5.8 ps of jitter, 1000 of them over 1e6 pulses
    assert clock.u / clock.value < 1e-9


def test_a_tagger_whose_seconds_are_long_counts_too_many_pulses(tmp_path: Path) -> None:
    """True times are 2 % longer than counted, so true rates 2 % lower."""
    run = record(tmp_path, "run", np.random.default_rng(10), 200_000, SOURCE)
    plain = brightness.analyse(run, detector_efficiency=ETA)["clock_rate"]

    def rate(error: float) -> Estimate:
        return brightness.analyse(
            run, detector_efficiency=ETA, tagger_clock=given("tagger_clock", error, 3e-4)
        )["clock_rate"]

    assert rate(0.02).value == pytest.approx(plain.value / 1.02, rel=1e-9)
    slope = (rate(0.021).value - rate(0.019).value) / 0.002
    line = next(c.u for c in rate(0.02).budget if "tagger_clock" in c.source)
    assert line == pytest.approx(slope * 3e-4, rel=1e-5)


def test_photon_numbers_are_those_of_the_paper() -> None:
    # the source of Table 1: 0.2932, 0.7016, 0.00520, and corr(p1, p2) = +0.86
    n, g2 = given("collection_efficiency", 0.712, 0.018), given("g2_zero_source", 0.0205, 0.0006)
    p1, p2 = brightness.photon_numbers(n, g2)
    assert p1.value == pytest.approx(0.7016, abs=5e-5)
    assert p2.value == pytest.approx(0.00520, abs=5e-6)
    cov = covariance([p1, p2])
    assert cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) == pytest.approx(0.86, abs=0.005)
    rng = np.random.default_rng(11)
    many_n, many_g = rng.normal(0.712, 0.018, 200_000), rng.normal(0.0205, 0.0006, 200_000)
    assert p2.u == pytest.approx(np.std(many_g * many_n**2 / 2), rel=0.02)
    assert p1.u == pytest.approx(np.std(many_n - many_g * many_n**2), rel=0.01)


def test_photon_numbers_keep_the_skew_of_few_coincidences() -> None:
    g2 = replace(
        given("g2_zero", 0.01, 0.006), interval_68=(0.006, 0.018), interval_95=(0.003, 0.028)
    )
    _, p2 = brightness.photon_numbers(given("mean_photon_number", 0.3, 0.0), g2)
    assert p2.interval_68 == pytest.approx((0.006 * 0.045, 0.018 * 0.045))
    assert p2.interval_95 == pytest.approx((0.003 * 0.045, 0.028 * 0.045))


def test_silent_detector_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    run = record(tmp_path, "run", rng, 50_000, replace(SOURCE, split=1.0, dark_hz=0.0))
    with pytest.raises(InconclusiveError, match="detector B"):
        photons(run)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(13)
    table = rng.normal(5.0, 2.0, (200, 1))
    found = jackknife(lambda t: float(t.mean()), table)
    assert found == pytest.approx(table.std(ddof=1) / np.sqrt(200), rel=1e-9)


def test_jackknife_of_a_ratio_is_that_of_repeated_experiments() -> None:
    rng = np.random.default_rng(14)

    def ratio(t: np.ndarray) -> float:
        return float(t[:, 0].sum() / t[:, 1].sum())

    found, values = [], []
    for _ in range(200):
        common = rng.gamma(20.0, 1.0, 100)
        table = np.column_stack([rng.poisson(3 * common), rng.poisson(50 * common)])
        found.append(jackknife(ratio, table))
        values.append(ratio(table))
    assert np.mean(found) == pytest.approx(np.std(values), rel=0.15)  # a scatter of 200 runs: 5 %


def test_jackknife_sees_slow_wander() -> None:
    # neighbours that agree: blocks are joined to groups before they are left out
    rng = np.random.default_rng(15)
    found, values = [], []
    for _ in range(300):
        slow = np.repeat(rng.normal(0.0, 1.0, 40), 5)[:, None]
        table = slow + rng.normal(0.0, 0.3, (200, 1))
        found.append(jackknife(lambda t: float(t.mean()), table))
        values.append(table.mean())
    assert np.mean(found) == pytest.approx(np.std(values), rel=0.2)
    with pytest.raises(ValueError, match="at least 20"):
        jackknife(lambda t: float(t.mean()), np.zeros((5, 1)))
