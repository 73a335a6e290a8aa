from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, Light, record, tags
from scipy import integrate, stats

from qdchar.analysis import lifetime
from qdchar.analysis.detection.live_gating import largest_laser_share
from qdchar.analysis.lifetime.emission import doubt_of_rival
from qdchar.analysis.lifetime.gaussian_response import fit_emg
from qdchar.analysis.lifetime.multi_exponential import fit_decays
from qdchar.analysis.lifetime.reconvolution import (
    DecayFit,
    bins_to_join,
    fit_decay,
    joined_bins,
    width_of_whole,
)
from qdchar.analysis.models.decay import decayed, emg_cdf, emg_shares, widened
from qdchar.cli import run as qdchar
from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.fit import runs_p_value
from qdchar.tags import TagWriter, open_tags
from qdchar.tags.formats.delay_histogram import CurveChoice
from qdchar.tags.source import count_in_one_pass
from qdchar.tags.timing.sync_regression import PulseWander, SyncRegression

# few two-photon pulses: which of two photons comes first is another test's business
LIGHT = Light(mean_photons=0.292, g2=0.00698)
RUNS = 100
PERIOD = PERIOD_PS * 1e-12


def clicks(
    rng: np.random.Generator, n: int, lifetime_s: float, sigma_s: float, start_s: float, bins: int
) -> np.ndarray:
    t = start_s + sigma_s * rng.standard_normal(n)
    t += lifetime_s * rng.standard_exponential(n)
    return np.bincount((t % PERIOD / PERIOD * bins).astype(int), minlength=bins).astype(float)


@pytest.mark.parametrize("lifetime_s", [20e-12, 75.8e-12, 1e-9, 40e-9])
@pytest.mark.parametrize("shift_s", [0.0, 3.3e-12, -41e-12])
def test_decay_behind_a_response(lifetime_s: float, shift_s: float) -> None:
    # Gaussian response and its decay, both in bins, by quadrature of the exact densities
    bins, sigma, start = 3284, 30e-12, 4e-9
    bin_s = PERIOD / bins
    edges = bin_s * np.arange(bins + 1)
    response = np.diff(stats.norm.cdf(edges, start, sigma))
    found = decayed(response, bin_s, lifetime_s, shift_s)
    assert found.sum() == pytest.approx(1.0, rel=1e-10)
    assert found.min() >= 0
    expected = np.zeros(bins)
    for k in range(math.ceil(40 * lifetime_s / PERIOD) + 1):
        shape = stats.exponnorm(lifetime_s / sigma, start + shift_s, sigma)
        expected += np.diff(shape.cdf(edges + k * PERIOD))
    # the triangle adds bin^2/6 to a variance of 900 ps^2, 0.3 %
    assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() < 1e-3


def test_decay_moves_the_moments_exactly() -> None:
    rng = np.random.default_rng(1)
    response = np.zeros(6568)
    response[2000:2060] = rng.poisson(1000, 60)
    t = np.arange(6568) * 2e-12
    for shift in (0.0, 0.7e-12, 5.1e-12):
        found = decayed(response, 2e-12, 75.8e-12, shift)
        means, variances = [], []
        for h in (response, found):
            w = h / h.sum()
            means.append(w @ t)
            variances.append(w @ t**2 - (w @ t) ** 2)
        # without `abs`, pytest allows 1e-12, of which the variances are a billionth
        assert means[1] - means[0] == pytest.approx(75.8e-12 + shift, rel=1e-9, abs=0.0)
        added = 75.8e-12**2 + 2e-12**2 / 6
        assert variances[1] - variances[0] == pytest.approx(added, rel=1e-6, abs=0.0)


def test_empty_bins_stay_empty() -> None:
    response = np.zeros(6568)
    response[2000] = 1e7
    found = decayed(response, 2e-12, 75.8e-12)
    # 10 ns after the pulse there is exp(-130) left, not the rounding of a Fourier transform
    assert 0 < found[1999] < 1e-40
    assert found[2002 + 758] / found[2002] == pytest.approx(math.exp(-758 * 2 / 75.8), rel=1e-9)


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_emg_does_not_overflow(ratio: float) -> None:
    sigma, tau = 25e-12, ratio * 25e-12
    t = np.linspace(-40 * sigma, 40 * max(sigma, tau), 4001)
    cdf = emg_cdf(t, tau, sigma)
    assert np.all(np.isfinite(cdf))
    assert np.all(np.diff(cdf) > -1e-14)
    for at in (-1.5 * sigma, 0.4 * sigma, tau):
        breaks = np.unique(np.clip((at + sigma * np.array([-8, 0, 8])) / tau, 0.0, 60.0))
        exact = sum(
            integrate.quad(
                lambda u, at=at: stats.norm.cdf((at - tau * u) / sigma) * math.exp(-u), *ends
            )[0]
            for ends in pairwise([0.0, *breaks, 60.0])
        )
        assert emg_cdf(np.array([at]), tau, sigma)[0] == pytest.approx(exact, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("factor", [0.8, 0.99, 1.2])
def test_a_widened_response_has_its_counts_and_its_width(factor) -> None:
    """Mean and variance of two Gaussians of unequal height, one of them around the period's end."""
    edges, bins = 2e-12 * np.arange(6569), 6568
    response = np.zeros(bins)
    for k in (-1, 0, 1):
        for start, sigma, counts in ((0.02e-9, 25e-12, 3e5), (0.12e-9, 40e-12, 1e5)):
            cdf = stats.norm.cdf(edges + k * bins * 2e-12, start, sigma)
            response += counts * np.diff(cdf)
    found = widened(response, factor)
    assert found.min() >= 0.0
    assert found.sum() == pytest.approx(4e5, rel=1e-9)
    t = (2.0 * np.arange(bins) + 5000.0) % (2.0 * bins)
    spreads = []
    for h in (response, found):
        mean = h @ t / h.sum()
        spreads.append(h @ (t - mean) ** 2 / h.sum())
    assert spreads[0] == pytest.approx((0.75 * 25**2 + 0.25 * 40**2 + 3 / 16 * 100**2), rel=1e-3)
    assert np.sqrt(spreads[1] / spreads[0]) == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize("factor", [0.9, 1.15])
def test_emission_may_have_another_response_than_the_laser(factor) -> None:
    """Noiseless histograms; the line of the budget is what a fit with another width finds."""
    bins, sigma = 6568, 25e-12
    bin_s = PERIOD / bins
    edges = bin_s * np.arange(bins + 1)
    response = np.rint(1e8 * np.diff(stats.norm.cdf(edges, 4e-9, sigma)))
    shape = stats.exponnorm(75.8e-12 / (factor * sigma), 4e-9, factor * sigma)
    decay = np.rint(1e8 * np.diff(shape.cdf(edges)))

    def found(value: float, u: float = 0.0) -> DecayFit:
        budget = (Contribution("calibration response_width", u, "B"),)
        return fit_decay("", "test", decay, response, bin_s, Uncertain(value, budget))

    fit = found(factor, 0.01)
    # the bins' triangles and the interpolation change variances by 1e-3 of those of the response
    assert fit.lifetime == pytest.approx(75.8e-12, abs=0.02e-12)
    assert abs(fit_decay("", "test", decay, response, bin_s).lifetime - 75.8e-12) > 1e-12
    (line,) = (c for c in fit.budget if c.source == "calibration response_width")
    assert line.u < 0.0  # a wider response leaves less to the decay
    up, down = (found(factor + d).lifetime for d in (0.01, -0.01))
    assert line.u == pytest.approx(0.5 * (up - down), rel=0.02)


def test_the_tagger_s_rounding_is_no_part_of_what_the_light_widens() -> None:
    """Detectors of 25 ps rms, 27.5 ps for the emission, behind a tagger that rounds to 42 ps."""
    bins, step, sigma = 6568, 42e-12, 25e-12
    bin_s = PERIOD / bins
    edges = bin_s * np.arange(bins + 1)
    across = np.linspace(-0.5, 0.5, 201) * step
    rounded = np.mean([stats.norm.cdf(edges, 4e-9 + x, sigma) for x in across], axis=0)
    response = np.rint(1e8 * np.diff(rounded)) + 3.0  # dark counts
    detectors = Estimate(
        name="response_width", value=1.1, method="given", budget=(Contribution("width", 0.02, "B"),)
    )
    whole = width_of_whole(detectors, response, bin_s, step)
    ratio = math.sqrt((27.5**2 + 42**2 / 12) / (25**2 + 42**2 / 12))
    assert ratio < 1.083
    assert whole.value == pytest.approx(ratio, abs=4e-4)  # the middle of a box is no Gaussian's
    slope = (math.sqrt((28**2 + 147) / (625 + 147)) - math.sqrt((27**2 + 147) / (625 + 147))) / 0.04
    assert whole.u == pytest.approx(0.02 * slope, rel=0.02)


def test_emg_shares_are_periodic() -> None:
    counts = emg_shares(PERIOD / 500 * np.arange(501), PERIOD, 20e-9, 30e-12, 3e-9)
    assert counts.sum() == pytest.approx(1.0, rel=1e-12)
    moved = emg_shares(PERIOD / 500 * np.arange(501), PERIOD, 20e-9, 30e-12, 3e-9 + PERIOD)
    assert moved == pytest.approx(counts, rel=1e-9)


@pytest.mark.parametrize("lifetime_s", [75.8e-12, 9e-9, 120e-9])
@pytest.mark.parametrize("sigma_s", [30e-12, 4e-9])
def test_emg_shares_add_all_earlier_pulses(lifetime_s: float, sigma_s: float) -> None:
    """Against scipy's distribution, pulse by pulse until exp(-45) is left."""
    edges, shape = PERIOD / 50 * np.arange(51), stats.exponnorm(lifetime_s / sigma_s, 5e-9, sigma_s)
    pulses = range(-4, math.ceil(45 * lifetime_s / PERIOD) + 5)
    expected = sum(np.diff(shape.cdf(edges + k * PERIOD)) for k in pulses)
    found = emg_shares(edges, PERIOD, lifetime_s, sigma_s, 5e-9)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("step_ps", [1, 42])
def test_intervals_cover(tmp_path: Path, step_ps: int) -> None:
    rng = np.random.default_rng(2)
    light = replace(LIGHT, step_ps=step_ps)
    runs = RUNS if step_ps == 42 else 30
    pulls = []
    for i in range(runs):
        decay = record(tmp_path, f"decay{i}", rng, 60_000, light)
        response = record(tmp_path, f"response{i}", rng, 60_000, replace(light, lifetime_ps=0.0))
        result = lifetime.analyse(decay, response)
        t1 = result["lifetime"]
        pulls.append((t1.value - 75.8e-12) / t1.u)
        assert result["temporal_fwhm"].value == pytest.approx(t1.value * math.log(2))
    inside = [np.mean(np.abs(pulls) < k) for k in (1.0, 1.96)]
    # 3 standard deviations of a binomial
    assert inside[0] == pytest.approx(0.683, abs=3 * math.sqrt(0.22 / runs))
    assert inside[1] > 0.95 - 3 * math.sqrt(0.0475 / runs)
    assert abs(np.mean(pulls)) < 3 / math.sqrt(runs)


def test_noise_of_the_response_is_propagated() -> None:
    # one decay with endless statistics, many short responses
    rng = np.random.default_rng(3)
    bins, sigma = 6568, 30e-12
    bin_s = PERIOD / bins
    edges = bin_s * np.arange(bins + 1)
    decay = 1e8 * np.diff(stats.exponnorm(75.8 / 30.0, 3e-9, sigma).cdf(edges))
    values, u = [], []
    for _ in range(40):
        response = clicks(rng, 20_000, 0.0, sigma, 3e-9, bins)
        fit = fit_decay("", "test", np.rint(decay), response, bin_s)
        values.append(fit.lifetime)
        u.append(next(c.u for c in fit.budget if "response" in c.source))
    # a scatter is known to 11 % from 40 of them
    assert np.mean(u) == pytest.approx(np.std(values), rel=0.35)
    assert np.mean(values) == pytest.approx(75.8e-12, abs=4 * np.std(values) / math.sqrt(40))


def test_likelihood_is_not_biased_at_few_counts() -> None:
    # least squares with sqrt(counts) errors loses 2 %: 74.2 ps
    rng = np.random.default_rng(4)
    bins, sigma = 3284, 25e-12
    response = 1e7 * np.diff(stats.norm.cdf(PERIOD / bins * np.arange(bins + 1), 3e-9, sigma))
    values = [
        fit_decay(
            "", "test", clicks(rng, 2_000, 75.8e-12, sigma, 3e-9, bins), response, PERIOD / bins
        ).lifetime
        for _ in range(80)
    ]
    assert np.mean(values) == pytest.approx(75.8e-12, abs=3 * np.std(values) / math.sqrt(80))


def test_background_of_the_response_is_taken_off_again() -> None:
    rng = np.random.default_rng(5)
    bins, sigma = 3284, 40e-12
    decay = clicks(rng, 300_000, 0.5e-9, sigma, 3e-9, bins)
    response = clicks(rng, 300_000, 0.0, sigma, 3e-9, bins)
    clean = fit_decay("", "test", decay + rng.poisson(3.0, bins), response, PERIOD / bins)
    dirty = fit_decay(
        "",
        "test",
        decay + rng.poisson(3.0, bins),
        response + rng.poisson(12.0, bins),
        PERIOD / bins,
    )
    for fit in (clean, dirty):
        assert fit.lifetime == pytest.approx(0.5e-9, abs=4 * fit.u)
        assert not fit.problems


@pytest.mark.parametrize("dead_ps", [26_350.0, 26_900.0])
def test_detector_that_recovers_within_the_pulse(tmp_path: Path, dead_ps: float) -> None:
    # two pulses after a click its late photons are seen, its early ones are not
    rng = np.random.default_rng(6)
    light = replace(LIGHT, mean_photons=0.712, lifetime_ps=900.0, dead_ps=dead_ps)
    decay = record(tmp_path, "decay", rng, 400_000, light)
    response = record(tmp_path, "response", rng, 200_000, replace(light, lifetime_ps=0.0))
    t1 = lifetime.analyse(decay, response)["lifetime"]
    assert t1.value == pytest.approx(900e-12, abs=3 * t1.u)
    assert t1.u < 5e-12


def test_first_of_two_photons(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    light = replace(LIGHT, mean_photons=0.6, g2=0.6)
    decay = record(tmp_path, "decay", rng, 600_000, light)
    response = record(tmp_path, "response", rng, 300_000, replace(light, lifetime_ps=0.0))
    t1 = lifetime.analyse(decay, response)["lifetime"]
    share = 0.6 * 0.6**2 / 2 * 0.356**2 / 0.2
    early = next(c.u for c in t1.budget if "first of two" in c.source)
    assert early == pytest.approx(75.8e-12 * share / 4 / math.sqrt(3), rel=0.1)
    assert t1.value == pytest.approx(75.8e-12, abs=3 * t1.u)


def test_laser_in_the_decay(tmp_path: Path) -> None:
    """A dot with 15 % of laser light: its pairs say how much that may be."""
    rng = np.random.default_rng(31)
    light = replace(LIGHT, mean_photons=0.17, g2=0.0, background_per_pulse=0.03)
    decay = record(tmp_path, "decay", rng, 3_000_000, light)
    response = record(tmp_path, "response", rng, 3_000_000, replace(light, mean_photons=0.0))
    t1 = lifetime.analyse(decay, response)["lifetime"]
    hasty = math.sqrt(3.0) * next(c.u for c in t1.budget if "leaked laser" in c.source)
    # all of its pairs are made with the laser: the whole of what was half added is missing
    rest = replace(t1, budget=tuple(c for c in t1.budget if "leaked laser" not in c.source))
    assert t1.value + hasty == pytest.approx(75.8e-12, abs=3 * rest.u)
    assert hasty > 3 * rest.u


def test_few_coincidences_leave_the_laser_s_share_open() -> None:
    def share(c0: int, uncorrelated: float) -> float:
        pulses = 1_000_000
        n = math.sqrt(uncorrelated * pulses)
        counts = {"c0": c0, "n_a": n, "n_b": n, "n_live": pulses}
        return largest_laser_share(SimpleNamespace(**{k: np.array([v]) for k, v in counts.items()}))

    assert share(20_000, 1e6) == pytest.approx(0.01, rel=1e-3)  # g2(0)/2
    assert share(0, 1e-6) == pytest.approx(0.5 / math.sqrt(3.0), rel=1e-3)  # anything up to 1/2
    # Poisson with a mean of 13 g2(0), by quadrature
    g2 = [integrate.quad(lambda g, k=k: g ** (3 + k) * math.exp(-13 * g), 0, 1)[0] for k in (2, 0)]
    assert share(3, 13.0) == pytest.approx(0.5 * math.sqrt(g2[0] / g2[1]), rel=1e-3)
    assert share(2_000_000, 1e6) == pytest.approx(0.5, rel=1e-3)  # bunched: nothing is ruled out


def test_known_excess_is_taken_off(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    decay = record(tmp_path, "decay", rng, 60_000, LIGHT)
    response = record(tmp_path, "response", rng, 60_000, replace(LIGHT, lifetime_ps=0.0))
    excess = Estimate(
        name="lifetime_detuning_correction",
        value=0.02,
        method="",
        budget=(Contribution("cavity vibration", 0.01, "B"),),
    )
    plain = lifetime.analyse(decay, response)["lifetime"]
    taken = lifetime.analyse(decay, response, detuning_correction=excess)["lifetime"]
    assert taken.value == pytest.approx(plain.value / 1.02)
    (line,) = [c.u for c in taken.budget if c.source == "cavity vibration"]
    assert line == pytest.approx(-0.01 * taken.value / 1.02)
    # a time tagger whose seconds are 3 % longer than true ones
    clock = Estimate(
        name="tagger_clock", value=0.03, method="", budget=(Contribution("clock", 0.004, "B"),)
    )
    longer = lifetime.analyse(decay, response, detuning_correction=excess, tagger_clock=clock)
    for name in ("lifetime", "response_fwhm"):
        counted = taken if name == "lifetime" else lifetime.analyse(decay, response)[name]
        assert longer[name].value == pytest.approx(1.03 * counted.value)
        (line,) = [c.u for c in longer[name].budget if c.source == "clock"]
        assert line == pytest.approx(0.004 * counted.value)


def test_response_width(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    decay = record(tmp_path, "decay", rng, 100_000, LIGHT)
    response = record(tmp_path, "response", rng, 300_000, replace(LIGHT, lifetime_ps=0.0))
    fwhm = lifetime.analyse(decay, response)["response_fwhm"]
    # the 9-bin smoothing and the step of 1 ps add 2 % to 58.9 ps
    assert fwhm.value == pytest.approx(25e-12 * math.sqrt(8 * math.log(2)), rel=0.04)


def _slow_decay(
    rng: np.random.Generator,
    parts: dict[float, int],
    background: float = 0.0,
    response_counts: int = 20_000,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Decay of 16384 ps with these lifetimes [s] and photons, and its response."""
    bins, period = 1024, 16_384e-12
    response = _in_bins(rng, 0.0, response_counts, 100e-12, bins, period)
    response += rng.poisson(1.0, bins)
    decay = sum(_in_bins(rng, t, n, 100e-12, bins, period) for t, n in parts.items())
    return decay + rng.poisson(background, bins), response, period / bins


def _in_bins(
    rng: np.random.Generator, lifetime_s: float, n: int, sigma_s: float, bins: int, period_s: float
) -> np.ndarray:
    t = 3e-9 + sigma_s * rng.standard_normal(n) + lifetime_s * rng.standard_exponential(n)
    return np.bincount((t % period_s / period_s * bins).astype(int), minlength=bins).astype(float)


def test_noise_of_the_response_is_no_misfit_and_no_decay() -> None:
    # 20 times as many photons as in the response, whose dark counts make waves of 20 sigma
    rng = np.random.default_rng(20)
    found = [
        fit_decays("", "test", *_slow_decay(rng, {1e-9: 400_000}, 5.0), width_u=0.0)
        for _ in range(10)
    ]
    chi2 = np.array([f.fit.minimum for f in found])
    dof = np.array([f.fit.dof for f in found])
    assert [f.number for f in found] == [1] * 10
    assert not any(f.problems for f in found)
    # chi2 has a variance of 2 dof
    assert abs(np.mean(chi2 - dof)) < 3 * math.sqrt(2 * dof.mean() / 10)
    pulls = [(f.lifetime - 1e-9) / math.sqrt(sum(c.u**2 for c in f.budget)) for f in found]
    assert abs(np.mean(pulls)) < 3 / math.sqrt(10)
    assert 0.3 < np.std(pulls) < 1.7


def test_runs_of_one_sign() -> None:
    rng = np.random.default_rng(23)
    noise = rng.standard_normal((400, 300))
    p = [runs_p_value(r) for r in noise]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    # a wave that lets chi-square rise by a quarter
    wave = 0.7 * np.sin(np.linspace(0, 12, 300))
    assert np.median([runs_p_value(r + wave) for r in noise]) < 0.02
    assert runs_p_value(np.ones(100)) == 1.0  # all on one side: a matter for chi-square


def test_second_decay_is_found_and_said() -> None:
    rng = np.random.default_rng(10)
    data = _slow_decay(rng, {0.2e-9: 200_000, 1.1e-9: 60_000})
    two = fit_decays("", "test", *data, width_u=0.0)
    assert (two.number, two.tail, two.problems) == (2, None, ())
    mean = (200 * 0.2e-9 + 60 * 1.1e-9) / 260
    assert two.lifetime == pytest.approx(mean, abs=4 * math.sqrt(sum(c.u**2 for c in two.budget)))
    assert "two decays: BIC -" in two.remark
    forced = fit_decay("", "test", *data)
    assert "does not describe the decay" in forced.problems[0]


def test_faint_slow_tail_is_left_out_and_said() -> None:
    # 2 % with 7 ns would make the mean longer by 12 %
    rng = np.random.default_rng(21)
    pulls = []
    for _ in range(5):
        data = _slow_decay(rng, {1e-9: 196_000, 7e-9: 4_000}, response_counts=200_000)
        fit = fit_decays("", "test", *data, width_u=0.0)
        assert fit.tail is not None
        assert fit.tail[1] == pytest.approx(0.02, abs=0.008)
        assert (fit.number, fit.problems) == (1, ())
        pulls.append((fit.lifetime - 1e-9) / math.sqrt(sum(c.u**2 for c in fit.budget)))
    assert abs(np.mean(pulls)) < 3 / math.sqrt(5)
    assert np.max(np.abs(pulls)) < 3


def test_width_of_the_response_is_a_nuisance() -> None:
    # the decay's own response is 3 % wider than the one recorded, at a lifetime of its FWHM
    rng = np.random.default_rng(22)
    bins, period, t1 = 1024, 4_096e-12, 120e-12
    pulls: dict[float, list[float]] = {0.0: [], 0.03: []}
    for _ in range(12):
        response = _in_bins(rng, 0.0, 300_000, 50e-12, bins, period)
        decay = _in_bins(rng, t1, 300_000, 51.5e-12, bins, period)
        for width_u, found in pulls.items():
            fit = fit_decays("", "test", decay, response, period / bins, width_u=width_u)
            u = math.sqrt(sum(c.u**2 for c in fit.budget if "misfit" not in c.source))
            found.append((fit.lifetime - t1) / u)
            assert any("width" in c.source for c in fit.budget) == (width_u > 0)
    assert abs(np.mean(pulls[0.03])) < 3 / math.sqrt(12) + 0.3
    assert np.mean(pulls[0.0]) > 1.5


def test_a_decay_too_fast_is_no_lifetime() -> None:
    # counting noise alone makes several picoseconds of none, with a curvature that says 1 ps
    rng = np.random.default_rng(24)
    bins, period = 1024, 4_096e-12
    for t1 in (0.0, 6e-12):
        response = _in_bins(rng, 0.0, 20_000, 50e-12, bins, period)
        decay = _in_bins(rng, t1, 20_000, 50e-12, bins, period)
        assert "not resolved" in fit_decay("", "test", decay, response, period / bins).problems[-1]
        many = fit_decays("", "test", decay, response, period / bins, width_u=0.02)
        assert "not resolved" in many.problems[-1]
    response, decay = (_in_bins(rng, t, 20_000, 50e-12, bins, period) for t in (0.0, 30e-12))
    found = fit_decay("", "test", decay, response, period / bins)
    assert not found.problems
    assert found.lifetime == pytest.approx(30e-12, abs=3.5 * found.u)


def test_lifetime_at_its_bound_has_a_profile_interval() -> None:
    rng = np.random.default_rng(25)
    inside = []
    for _ in range(12):
        decay = _in_bins(rng, 5e-12, 20_000, 50e-12, 1024, 4_096e-12)
        fit = fit_emg("", "test", decay, 4e-12)
        if fit.intervals is not None:
            (_, (low, high)), u = fit.intervals, fit.u
            assert 0 < low < high < 30e-12
            assert u < 10e-12
            inside.append(low <= 5e-12 <= high)
    assert len(inside) > 6
    assert np.mean(inside) > 0.8


def test_gaussian_response_covers() -> None:
    rng = np.random.default_rng(11)
    pulls = []
    for _ in range(60):
        decay = clicks(rng, 20_000, 200e-12, 50e-12, 3e-9, 1000) + rng.poisson(0.2, 1000)
        fit = fit_emg("", "test", decay, PERIOD / 1000)
        pulls.append((fit.lifetime - 200e-12) / fit.u)
        assert fit.response_fwhm is not None
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.683, abs=3 * math.sqrt(0.22 / 60))
    assert abs(np.mean(pulls)) < 3 / math.sqrt(60)


def test_real_dot_from_a_t3_file(real_data: Path) -> None:
    file = real_data / "qd_hbt_ptu/200213_HH400_T3_80MHz_HBT.ptu"
    a, b = (lifetime.analyse_file(file, channel=c)["lifetime"] for c in (0, 1))
    # the tail beyond the response falls by e in 128 to 134 ps on either channel
    assert a.value == pytest.approx(131e-12, abs=4e-12)
    assert a.value == pytest.approx(b.value, abs=3 * math.hypot(a.u, b.u))
    # its response is no Gaussian, and that is said
    assert "Gaussian" in lifetime.analyse_file(file).problems[0]


def test_real_dot_from_a_qutag_file(real_data: Path) -> None:
    file = real_data / "qd_hbt_ptu/19_qutag_80MHz_HBT_sync_filtered.qutag"
    with pytest.raises(UsageError, match="clock channel"):
        lifetime.analyse_file(file)
    result = lifetime.analyse_file(file, sync_channel=5, period_s=12.4955e-9)
    assert 200e-12 < result["lifetime"].value < 400e-12
    assert "give a response file" in result.problems[-1]


def test_published_dye_with_measured_response(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, figure = real_data / "lifefit", tmp_path / "decay.png"
    files = [str(folder / "Atto550_DNA.txt"), "--response", str(folder / "irf.txt")]
    assert qdchar(["fit", "lifetime", *files, "--figure", str(figure), "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    t1 = line["quantities"]["lifetime"]
    # published mean 3.61(1) ns; the split into two decays is ill-conditioned
    assert t1["value"] == pytest.approx(3.61e-9, abs=0.15e-9)
    assert abs(t1["value"] - 3.61e-9) < 2 * math.hypot(t1["u"], 0.01e-9)
    assert "mean 1/e decay time of 2 decays" in t1["method"]
    assert "tail" in t1["method"]
    assert figure.stat().st_size > 10_000


def test_decay_as_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    bins = 1000
    for name, t1 in (("decay", 0.4e-9), ("response", 0.0)):
        counts = clicks(rng, 200_000, t1, 60e-12, 3e-9, bins).astype(int)
        rows = "\n".join(f"{i * PERIOD / bins * 1e9:.6f},{c}" for i, c in enumerate(counts))
        (tmp_path / f"{name}.csv").write_text("time_ns,counts\n" + rows)
    t1 = lifetime.analyse_file(tmp_path / "decay.csv", response=tmp_path / "response.csv")[
        "lifetime"
    ]
    assert t1.value == pytest.approx(0.4e-9, abs=4 * t1.u)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n" * 10, "10 rows"),
        ("time_ns counts\n" + "\n".join(f"{i} 0.5" for i in range(50)), "whole"),
        ("time_ns counts\n1 2\nfoo bar\n", "line 3"),
    ],
)
def test_bad_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(text)
    with pytest.raises(RecordError, match=message):
        lifetime.analyse_file(file)


def test_too_few_counts_are_refused() -> None:
    rng = np.random.default_rng(13)
    few = clicks(rng, 50, 76e-12, 25e-12, 3e-9, 1000)
    with pytest.raises(InconclusiveError, match="50 counts"):
        fit_decay("", "test", few, 100 * few, PERIOD / 1000)


def test_laser_that_drifts_is_noticed(tmp_path: Path) -> None:
    # the period changes by 2e-8 over 10 ms
    rng = np.random.default_rng(14)
    response = record(tmp_path, "response", rng, 100_000, replace(LIGHT, lifetime_ps=0.0))
    times, channels, span = tags(rng, 760_000, LIGHT)
    drifted = (times * (1 + 2e-8 * times / span)).astype(np.int64)
    file = tmp_path / "drift.h5"
    with TagWriter(file, resolution_ps=1.0) as writer:
        writer.append(drifted, channels)
    run = replace(response, file=file)
    assert wander_ps(file) == pytest.approx(2e-8 * span / math.sqrt(180), rel=0.1)
    assert "pulses drift" in lifetime.analyse(run, response).problems[-1]
    assert wander_ps(response.file) < 2.0


def wander_ps(file: Path) -> float:
    source = open_tags(file)
    sync = SyncRegression(7, 1000)
    count_in_one_pass(source, sync)
    wander = PulseWander(7, sync.clock(), 1000, sync.n_tags)
    count_in_one_pass(source, wander)
    return wander.rms_ps()


def _text(file: Path, header: str, *columns: np.ndarray) -> Path:
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    file.write_text(header + "\n" + "\n".join(rows) + "\n")
    return file


def test_a_window_shorter_than_the_period(tmp_path: Path) -> None:
    """9 ns seen for 22 ns after the pulse: what lies beyond the window is no background."""
    rng = np.random.default_rng(20)
    edges = 0.1e-9 * np.arange(251)
    t = rng.exponential(9e-9, 200_000) + rng.normal(3e-9, 60e-12, 200_000)
    counts = np.histogram(t, edges)[0] + rng.poisson(2.0, 250)
    response = np.histogram(rng.normal(3e-9, 60e-12, 100_000), edges)[0]
    ns = np.round(edges[:-1] * 1e9, 4)
    file = _text(tmp_path / "cut.csv", "time_ns,irf,decay", ns, response, counts)
    chosen: tuple[dict[str, Any], ...] = ({"choice": CurveChoice(column="decay")}, {})
    for options in chosen:
        t1 = lifetime.analyse_file(file, period_s=100e-9, **options)["lifetime"]
        assert t1.value == pytest.approx(9e-9, abs=4 * t1.u)
        assert t1.u < 0.1e-9
        assert "irf of cut.csv" in t1.method
    with pytest.raises(UsageError, match="more than the period"):
        lifetime.analyse_file(file, period_s=12.5e-9)
    with pytest.raises(UsageError, match="no channels"):
        lifetime.analyse_file(file, channel=0)


def test_pure_background_has_no_lifetime(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    ns, flat = 0.05 * np.arange(250), rng.poisson(50.0, 250)
    response = np.histogram(rng.normal(3.0, 0.1, 100_000), 0.05 * np.arange(251))[0]
    ns = np.round(ns, 3)
    files = (
        _text(tmp_path / "with.csv", "time_ns,irf,decay", ns, response, flat),
        _text(tmp_path / "without.csv", "time_ns,decay", ns, flat),
    )
    for file in files:
        with pytest.raises(InconclusiveError, match=r"no decay found|converge|separate"):
            lifetime.analyse_file(file)


def _emitted(rng: np.random.Generator, kind: str, number: int) -> np.ndarray:
    """Times after the pulse of a state of 1.1 ns [s]."""
    t = rng.exponential(1.1e-9, number)
    if kind == "rise":
        return t + rng.exponential(0.35e-9, number)
    if kind == "beat":
        return t[rng.random(number) < 0.5 + 0.35 * np.cos(2 * np.pi * 0.6e9 * t)]
    if kind == "pile-up":
        pulse = np.sort(rng.integers(0, 2 * number, number))  # 0.5 photons a pulse
        order = np.lexsort((t, pulse))
        return t[order][np.concatenate([[True], np.diff(pulse[order]) > 0])]
    return t


def _recorded(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    t = np.mod(t + rng.normal(2e-9, 90e-12, len(t)), 12e-9)
    return np.histogram(t, 40e-12 * np.arange(301))[0].astype(np.float64)


@pytest.mark.parametrize(
    ("kind", "name"), [("rise", "rise"), ("pile-up", "first alone"), ("none", "")]
)
def test_rivals_of_one_decay_without_a_response(kind: str, name: str) -> None:
    """One decay behind a Gaussian would be 7 to 12 standard uncertainties off, often in silence."""
    rng = np.random.default_rng(51)
    decay = _recorded(rng, _emitted(rng, kind, 20_000)) + rng.poisson(1.0, 300)
    found = fit_emg("", "test", decay, 40e-12)
    assert found.lifetime == pytest.approx(1.1e-9, abs=3 * found.u)
    assert found.u < 0.2e-9
    assert bool(found.problems) == bool(name)
    assert all(name in p for p in found.problems)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("rise", "rise_time", 0.35e-9), ("beat", "fine_structure_splitting", 0.6e9)],
)
def test_rivals_of_one_decay_behind_the_measured_response(
    kind: str, name: str, value: float
) -> None:
    rng = np.random.default_rng(52)
    decay = _recorded(rng, _emitted(rng, kind, 30_000)) + rng.poisson(1.0, 300)
    response = _recorded(rng, np.zeros(50_000))
    found = fit_decays("", "test", decay, response, 40e-12, width_u=0.0)
    u = math.sqrt(sum(c.u**2 for c in found.budget))
    assert found.lifetime == pytest.approx(1.1e-9, abs=3 * u)
    assert u < 0.06e-9
    (other,) = found.others
    assert other.name == name
    assert other.value == pytest.approx(value, abs=3 * other.u)
    assert not found.problems


def test_a_reflection_is_no_second_decay() -> None:
    """6 % of the light comes once more 2.7 ns later; two decays would have a mean 12 % longer."""
    rng = np.random.default_rng(53)
    t = _emitted(rng, "none", 30_000)
    late = t[rng.random(len(t)) < 0.06] + 2.7e-9
    decay = _recorded(rng, np.concatenate([t, late])) + rng.poisson(1.0, 300)
    found = fit_decays("", "test", decay, _recorded(rng, np.zeros(50_000)), 40e-12, width_u=0.0)
    u = math.sqrt(sum(c.u**2 for c in found.budget))
    assert found.lifetime == pytest.approx(1.1e-9, abs=3 * u)
    assert u < 0.03e-9
    assert "reflection: BIC -" in found.remark


def test_a_poor_second_decay_is_a_doubt() -> None:
    """A third of 2000 photons comes with 4 ns: one decay describes it, and is 8 u too short."""
    mean = 0.7 * 1.1e-9 + 0.3 * 4e-9
    right = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        t = np.concatenate([_emitted(rng, "none", 1400), rng.exponential(4e-9, 600)])
        found = fit_emg("", "test", _recorded(rng, t) + rng.poisson(1.0, 300), 40e-12)
        right += bool(found.problems) or abs(found.lifetime - mean) < 3.0 * found.u
    assert right >= 4


@pytest.mark.parametrize(
    ("fall", "more", "shift", "excess", "doubt"),
    [
        (4.0, 2, 0.3, 0.0, 0.3 * math.sqrt(0.5)),  # Akaike's criterion is the same: one in two
        (4.0, 2, 0.3, 0.16, math.sqrt(0.5 * (0.09 + 0.16))),
        (4.0, 2, 0.3, 9.0, math.sqrt(0.5 * (0.09 + 1.0))),  # undetermined: 1 at most
        (4.0 + 2.0 * math.log(9.0), 2, 0.3, -1.0, 0.3 * math.sqrt(0.9)),
        (-1500.0, 1, 0.3, 1.0, 0.0),
    ],
)
def test_doubt_that_a_rival_leaves(
    fall: float, more: int, shift: float, excess: float, doubt: float
) -> None:
    found = doubt_of_rival(fall, more, shift, excess, 1.0)
    assert found == pytest.approx(doubt, rel=1e-9, abs=1e-30)


@pytest.mark.parametrize(
    ("n", "sigma", "lifetime", "k"),
    [
        (65_536, 85.0, 100.0, 8),  # a tenth of the response where the decay is as fast
        (65_536, 85.0, 300.0, 16),  # a fifth where it is slow
        (65_675, 521.0, 100.0, 37),
        (65_536, 15.0, 10.0, 1),
        (410, 85.0, 100.0, 1),
    ],
)
def test_bins_finer_than_needed_are_joined(n: int, sigma: float, lifetime: float, k: int) -> None:
    assert bins_to_join(n, sigma, lifetime) == k
    counts = np.arange(float(n))
    assert joined_bins(counts, k).sum() == counts[: n // k * k].sum()
