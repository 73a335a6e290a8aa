from __future__ import annotations

import csv
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pulsed_light import Light, record
from scipy import integrate

from qdchar.analysis import hbt
from qdchar.analysis.hbt.g2_comb_fit import analyse_histogram, comb
from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.tags.formats.delay_histogram import CurveChoice, DelayHistogram, read_histogram

T3 = "qd_hbt_ptu/200213_HH400_T3_80MHz_HBT.ptu"


def test_real_dot_from_a_t3_file(real_data: Path) -> None:
    result = hbt.analyse_file(real_data / T3)
    g2 = result["g2_zero"]
    # two independent programs: 1 pair at zero against 376.0 a side peak, at +23.9 ns
    assert g2.value == pytest.approx(1 / 376.0, rel=1e-3)
    assert "1 pair in the zero peak against 376.0 a side peak" in g2.method
    assert g2.interval_68 is not None
    assert g2.interval_95 is not None
    below, above = g2.value - g2.interval_68[0], g2.interval_68[1] - g2.value
    assert above > 2 * below > 0
    # Garwood for one count: 0.0253 to 5.572 at 95 %; the pair may be of an afterpulse, of which so
    # few clicks would show none: 1.3 % off the lower end
    assert g2.interval_95 == pytest.approx((0.0253 / 376, 5.572 / 376), rel=0.02)
    assert result["electronic_delay"].value == pytest.approx(23.94e-9, abs=0.02e-9)
    assert result["pulse_period"].value == pytest.approx(12.49552e-9, abs=1e-15)
    # this dot blinks: side peaks are four times what the count rates make without correlation
    independent = 160_953 * 235_373 * 12.49552e-9 / 4.999925
    b = result["blinking_amplitude"]
    assert b.value == pytest.approx(376.0 / independent - 1, rel=0.01)
    averaged = result["g2_zero_time_averaged"]
    assert averaged.value == pytest.approx(1 / independent, rel=0.01)
    # at one count a Poisson mean is at most 4.744
    assert result["g2_zero_upper"].value == pytest.approx(4.744 / independent, rel=0.01)
    assert not result.problems


def test_delay_and_period_can_be_given(real_data: Path) -> None:
    result = hbt.analyse_file(real_data / T3, delay_s=23.9e-9, period_s=12.4955e-9, channels=(0, 1))
    assert result["g2_zero"].value == pytest.approx(0.0027, abs=1e-4)
    assert result["electronic_delay"].method == "given"


def test_narrow_window_takes_fewer_pairs(real_data: Path) -> None:
    whole = hbt.analyse_file(real_data / T3)["g2_zero"]
    narrow = hbt.analyse_file(real_data / T3, window_s=0.3e-9)["g2_zero"]
    assert "within 0.3 ns" in narrow.method
    held = float(narrow.method.split("centres, ")[1].split(" %")[0])
    assert 30.0 < held < 90.0
    assert narrow.method != whole.method
    with pytest.raises(UsageError, match="window"):
        hbt.analyse_file(real_data / T3, window_s=10e-9)


def test_real_dot_from_a_qutag_file(real_data: Path) -> None:
    # three channels, the third is the sync: only one pair of them is antibunched
    result = hbt.analyse_file(real_data / "qd_hbt_ptu/19_qutag_80MHz_HBT_sync_filtered.qutag")
    g2 = result["g2_zero"]
    assert g2.value == 0.0
    assert "0 pairs in the zero peak against 45.7 a side peak" in g2.method
    assert "173 tags were out of order" in g2.method
    assert g2.interval_95 is not None
    assert g2.interval_95[1] == pytest.approx(3.689 / 45.7, rel=0.01)
    assert result["pulse_period"].value == pytest.approx(12.4955e-9, abs=3e-12)


def test_inconsistent_header_is_refused(real_data: Path) -> None:
    with pytest.raises(RecordError, match="sync period"):
        hbt.analyse_file(real_data / "qd_hbt_ptu/200204_HH400_T3_320MHz_HBT_bad_header.ptu")


@pytest.mark.parametrize("name", ["1p2uW_3000cps", "4uW_4100cps", "10uW_12000cps", "30uW_7000cps"])
def test_published_fits(real_data: Path, name: str) -> None:
    folder = real_data / "sps_quality"
    with (folder / "published_fits.csv").open() as stream:
        published = {row["dataset"]: row for row in csv.DictReader(stream)}[name]
    result = hbt.analyse_file(folder / f"{name}.npz")
    g2 = result["g2_zero"]
    value, u = float(published["p_fit_g2_zero"]), float(published["p_fit_g2_zero_stderr"])
    assert abs(g2.value - value) < 1.5 * math.hypot(u, g2.u)
    assert g2.u == pytest.approx(u, rel=0.25)
    delay, u_delay = (float(published[f"p_fit_delay_mpe{s}"]) for s in ("", "_stderr"))
    found = result["electronic_delay"]
    # theirs is from the left edge of a bin, of at most 0.256 ns
    assert abs(found.value - delay) < 1.5 * math.hypot(u_delay, found.u) + 0.128e-9
    assert result["pulse_period"].value == pytest.approx(12.5e-9, abs=3e-12)


def test_comb_is_the_sum_of_its_peaks() -> None:
    period, decay, g2, delay = 12.5e-9, 3.1e-9, 0.37, 61.2e-9
    edges = np.linspace(0.0, 120e-9, 61)

    def density(t: float) -> float:
        n = np.arange(-60, 60)
        height = np.where(n == 0, g2, 1.0)
        return float(np.sum(height * np.exp(-np.abs(t - delay - n * period) / decay)))

    cusps = delay + period * np.arange(-60, 60)
    by_quadrature = []
    for a, b in pairwise(edges):
        pieces = [a, *cusps[(cusps > a) & (cusps < b)], b]
        parts = (integrate.quad(density, *ends)[0] for ends in pairwise(pieces))
        by_quadrature.append(sum(parts) / (b - a))
    assert comb(edges, period, decay, g2, delay) == pytest.approx(by_quadrature, rel=1e-6)


def test_comb_does_not_overflow() -> None:
    edges = np.linspace(-50e-9, 50e-9, 1001)
    areas = comb(edges, 12.5e-9, 1e-12, 0.5, 0.0)
    assert np.all(np.isfinite(areas))
    # each whole peak holds 2 d, whatever the decay
    assert areas.sum() * 1e-10 == pytest.approx(7 * 2e-12 - 2e-12 * 0.5 + 1e-12 * 2, rel=0.01)


def test_histogram_fit_covers() -> None:
    rng = np.random.default_rng(1)
    edges = 0.256e-9 * np.arange(977)
    truth = 0.12
    mean = 2.0 + 40.0 * comb(edges, 12.5e-9, 2.5e-9, truth, 120.3e-9)
    inside, pulls = np.zeros(2), []
    for _ in range(60):
        histogram = DelayHistogram(0.0, 0.256e-9, rng.poisson(mean)[:, None])
        result = analyse_histogram(histogram, "simulated")
        g2 = result["g2_zero"]
        pulls.append((g2.value - truth) / g2.u)
        for i, interval in enumerate((g2.interval_68, g2.interval_95)):
            assert interval is not None
            inside[i] += interval[0] <= truth <= interval[1]
    # 3 standard deviations of a binomial of 60 trials
    assert 0.5 < inside[0] / 60 < 0.86
    assert inside[1] / 60 > 0.86
    assert abs(np.mean(pulls)) < 3 / math.sqrt(60)


def test_snapshots_that_scatter_widen_the_error() -> None:
    rng = np.random.default_rng(2)
    edges = 0.256e-9 * np.arange(977)
    steady = comb(edges, 12.5e-9, 2.0e-9, 0.1, 120.3e-9)
    # g2 itself jumps from snapshot to snapshot
    jumping = [comb(edges, 12.5e-9, 2.0e-9, g, 120.3e-9) for g in rng.choice([0.0, 0.9], 40)]
    calm = rng.poisson(3.0 * steady[:, None] * np.ones(40))
    wild = rng.poisson(3.0 * np.stack(jumping, axis=1))
    u = [
        analyse_histogram(DelayHistogram(0.0, 0.256e-9, c), "simulated")["g2_zero"].u
        for c in (calm, wild)
    ]
    assert u[1] > 2 * u[0]


def test_brightness_that_jumps_does_not_widen_the_error() -> None:
    # 17 times more than Poisson in the block rates leaves the ratio of peaks alone
    rng = np.random.default_rng(3)
    edges = 0.256e-9 * np.arange(977)
    shape = comb(edges, 12.5e-9, 2.0e-9, 0.1, 120.3e-9)
    steady, rates = np.full(40, 3.0), rng.choice([1.0, 5.0], 40)
    u = [
        analyse_histogram(
            DelayHistogram(0.0, 0.256e-9, rng.poisson(np.outer(shape, r))), "simulated"
        )["g2_zero"].u
        for r in (steady, rates)
    ]
    assert u[1] == pytest.approx(u[0], rel=0.3)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_text_histograms(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    edges = 0.25e-9 * np.arange(801)
    counts = rng.poisson(20.0 * comb(edges, 12.5e-9, 2e-9, 0.1, 100.1e-9) + 0.5)
    ps = 250 * np.arange(800)
    named = "delay_ns,counts\n" + "\n".join(
        f"{p / 1000},{c}" for p, c in zip(ps, counts, strict=True)
    )
    rows = " ".join(map(str, ps)) + "\n" + " ".join(map(str, counts)) + "\n"
    first = read_histogram(_write(tmp_path / "named.csv", named))
    swabian = _write(tmp_path / "swabian.txt", rows)
    second = read_histogram(swabian, CurveChoice(unit="ps"))
    for histogram in (first, second):
        assert histogram.bin_s == pytest.approx(0.25e-9)
        assert np.array_equal(histogram.counts[:, 0], counts)
    result = hbt.analyse_file(tmp_path / "named.csv")
    assert result["g2_zero"].value == pytest.approx(0.1, abs=3 * result["g2_zero"].u)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delay_ns counts\n" + "\n".join(f"{i} {i % 3 + 0.5}" for i in range(40)), "whole"),
        ("delay_ns counts\n" + "\n".join(f"{i**1.1} 3" for i in range(40)), "not equal"),
        ("delay_ns counts\n1 2\n2 3\n", "at least 16 bins"),
        ("hello\nworld\n", "no data"),
    ],
)
def test_bad_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        hbt.analyse_file(_write(tmp_path / "bad.txt", text))


def test_damaged_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(RecordError, match="delay_ns"):
        hbt.analyse_file(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(RecordError, match="not a histogram"):
        hbt.analyse_file(tmp_path / "broken.npz")


def test_flat_histogram_is_inconclusive() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(InconclusiveError):
        analyse_histogram(DelayHistogram(0.0, 0.25e-9, rng.poisson(20.0, (800, 1))), "flat")


def test_tag_file_agrees_with_live_gating(tmp_path: Path) -> None:
    # faint light: no dead time to speak of, both ways must give the same pairs
    rng = np.random.default_rng(6)
    light = Light(mean_photons=0.03, g2=0.1, delay_b_ps=2_500.0, dark_hz=0.0)
    run = record(tmp_path, "run", rng, 3_000_000, light)
    from_tags = hbt.analyse_file(run.file, channels=(1, 2))
    live = hbt.analyse(run)["g2_zero_source"]
    assert from_tags["electronic_delay"].value == pytest.approx(2.5e-9, abs=0.02e-9)
    # the zero peaks are the same pairs but for what the gate leaves out
    assert from_tags["g2_zero_time_averaged"].value == pytest.approx(live.value, abs=0.3 * live.u)
    assert from_tags["g2_zero"].value == pytest.approx(0.1, abs=3 * from_tags["g2_zero"].u)


def test_bright_light_without_a_clock_says_what_is_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    run = record(tmp_path, "run", rng, 300_000, Light())
    result = hbt.analyse_file(run.file, channels=(1, 2))
    assert "detector is dead" in result.problems[0]


def test_one_detector_is_not_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    run = record(tmp_path, "run", rng, 100_000, Light())
    with pytest.raises(InconclusiveError):
        hbt.analyse_file(run.file, channels=(1, 7))


@pytest.mark.parametrize("option", [{"window_s": 1e-9}, {"channels": (0, 1)}])
def test_an_option_that_a_histogram_cannot_use_is_refused(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    file = _write(tmp_path / "h.csv", "delay_ns,counts\n" + "\n".join(f"{k},3" for k in range(40)))
    with pytest.raises(UsageError, match="is a histogram"):
        hbt.analyse_file(file, **option)
