"""Lifetimes and count rates against detuning, simulated from the formulas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from click_scans import coverage, given, uncertain

from qdchar.analysis import lifetime, purcell
from qdchar.analysis.purcell.detuned_decays import detuned_decays
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter

F0, SLOW_S, CENTRE_V, WIDTH_V = 14.0, 1.137e-9, 31.002, 0.763 / 45.0
RESPONSE_S = 0.2e-12  # error of all lifetimes alike
TRUTH = {
    "purcell_factor": F0,
    "beta_factor": F0 / (1 + F0),
    "lifetime_on_resonance": SLOW_S / (1 + F0),
    "lifetime_detuned": SLOW_S,
    "cavity_resonance_voltage": CENTRE_V,
    "cavity_fwhm_voltage": WIDTH_V,
}


def _fit(
    rng: np.random.Generator, reach: float = 2.0, points: int = 13, start_V: float = 31.0, **more
) -> Result:
    """Points up to `reach` widths to either side; 0.3 % on lifetimes and rates."""
    volts = start_V + WIDTH_V * np.linspace(-reach, reach, points)
    x = 2 * (volts - CENTRE_V) / WIDTH_V
    factor = F0 / (1 + x**2)
    t1, rate = SLOW_S / (1 + factor), 2e7 * factor / (1 + factor)
    response = RESPONSE_S * rng.standard_normal()
    lifetimes = [
        Estimate(
            name="lifetime",
            value=float(t * (1 + 0.003 * rng.standard_normal()) + response),
            method="",
            budget=(
                Contribution(f"lifetime run {i}", float(0.003 * t)),
                Contribution("response", RESPONSE_S, "B"),
            ),
        )
        for i, t in enumerate(t1)
    ]
    seen = [
        uncertain(f"rate {i}", float(r * (1 + 0.003 * rng.standard_normal())), 0.003 * float(r))
        for i, r in enumerate(rate)
    ]
    return purcell.analyse(volts, lifetimes, seen, **more)


@pytest.mark.parametrize("reach", [1.0, 2.0, 10.0])
def test_intervals_cover(reach: float) -> None:
    rng = np.random.default_rng(1)

    def run() -> dict[str, Estimate]:
        return {e.name: e for e in _fit(rng, reach).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, TRUTH, 150).items():
        # 150 runs: mean to 0.08, sd to 0.058, coverages to 0.038 and 0.018; three of each
        assert abs(mean) < 0.25, name
        assert 0.82 < sd < 1.18, name
        assert 0.56 < at_68 < 0.8, name
        assert at_95 > 0.895, name


def test_what_lifetimes_share_stays_shared() -> None:
    """All lifetimes are off alike: so is the one on resonance, by exactly as much."""
    result = _fit(np.random.default_rng(2))
    part = {c.source: c for c in result["lifetime_on_resonance"].budget}["response"]
    assert part.u == pytest.approx(RESPONSE_S, rel=0.02)
    assert part.kind == "B"


def test_rates_and_lifetimes_agree_on_the_cavity() -> None:
    """The rate's width at half maximum is sqrt(1 + F0) times that of 1/T1 above its floor."""
    result = _fit(np.random.default_rng(3), reach=8.0, points=41)
    lifetimes, rates = result.fits[0].curves

    def width(x: np.ndarray, y: np.ndarray) -> float:
        inside = x[y > y.max() / 2]
        return float(inside[-1] - inside[0])

    decay = 1 / lifetimes.y_line - 1 / result["lifetime_detuned"].value
    ratio = width(rates.x_line, rates.y_line) / width(lifetimes.x_line, decay)
    # 400 points over 16 widths: a width is known to 0.04 of itself
    assert ratio == pytest.approx(math.sqrt(1 + F0), rel=0.06)
    assert result.problems == ()


def test_calibrations_give_width_in_metres_and_hertz() -> None:
    result = _fit(
        np.random.default_rng(4),
        metres_per_volt=given("cavity_metres_per_volt", 45e-9, 0.45e-9),
        hertz_per_metre=given("cavity_tuning", 35e18, 0.0),
    )
    displacement, frequency = result["cavity_fwhm_displacement"], result["cavity_fwhm"]
    assert displacement.value == pytest.approx(0.763e-9, rel=0.01)
    assert displacement.u / displacement.value == pytest.approx(0.01, rel=0.1)
    assert frequency.value == pytest.approx(26.7e9, rel=0.01)


def test_unusable_data_are_refused() -> None:
    rng = np.random.default_rng(5)
    assert "is outside the points" in _fit(rng, 1.0, start_V=31.023).problems[0]
    with pytest.raises(InconclusiveError, match="Purcell fit"):
        _fit(rng, 1.0, start_V=31.06)
    assert "extrapolation" in _fit(rng, 0.3).problems[0]
    with pytest.raises(InconclusiveError, match="at least 4 points"):
        _fit(rng, points=3)
    same = [given("lifetime", 1e-10 * (1 + k), 1e-12) for k in range(4)]
    rates = [uncertain(f"rate {k}", 1e6, 1e3) for k in range(4)]
    with pytest.raises(InconclusiveError, match="uncertainties of their own"):
        purcell.analyse(np.arange(4.0), same, rates)


PERIOD_PS, JITTER_PS, START_PS = 13_135.426, 25.0, 2_000.0
DOT, LEAK = 0.3, 0.004  # clicks a pulse: of the dot on resonance, of the laser anywhere


def _record(
    folder: Path,
    name: str,
    rng: np.random.Generator,
    pulses: int,
    dot: float,
    lifetime_ps: float,
    leak: float,
) -> TagRun:
    """Dot and prompt laser on two detectors without dead time, photon by photon."""
    single = np.flatnonzero(rng.random(pulses) < dot)
    n_dot = len(single)
    pulse = np.concatenate([single, rng.integers(0, pulses, rng.poisson(leak * pulses))])
    when = pulse * PERIOD_PS + START_PS + rng.normal(0.0, JITTER_PS, len(pulse))
    when[:n_dot] += rng.exponential(lifetime_ps, n_dot)
    channels = rng.integers(1, 3, len(when)).astype(np.uint8)
    sync = np.arange(0, pulses, 1000) * PERIOD_PS + rng.uniform(0.0, 20.0, -(-pulses // 1000))
    times = np.concatenate([when, sync]).astype(np.int64)
    channels = np.concatenate([channels, np.full(len(sync), 7, np.uint8)])
    order = np.argsort(times, kind="stable")
    span = int(pulses * PERIOD_PS)
    order = order[(times[order] >= 0) & (times[order] < span)]
    file = folder / f"{name}.h5"
    with TagWriter(file, resolution_ps=1) as writer:
        writer.append(times[order], channels[order], covered_until_ps=span)
    return TagRun(About("test"), file, 1, 2, 7, 1000, span * 1e-12)


def _scan(folder: Path, seed: int, x: np.ndarray, leak: float = LEAK) -> list[TagRun]:
    rng = np.random.default_rng(seed)
    factor = F0 / (1 + x**2)
    runs = []
    for k, f in enumerate(factor):
        dot = DOT * f / (1 + f) * (1 + 1 / F0)
        pulses = int(min(5e5 / dot, 5e6))
        run = _record(folder, f"run{k}", rng, pulses, dot, 1e12 * SLOW_S / (1 + f), leak)
        runs.append(run)
    runs.append(_record(folder, "response", rng, 2_000_000, 0.0, 1.0, DOT))
    return runs


X = np.array([0.0, -1.2, 2.3, -4.5, 4.5, -12.0, 12.0])


def test_leaked_laser_is_told_from_the_detuned_dot(tmp_path: Path) -> None:
    *runs, response = _scan(tmp_path, 1, X)
    factor = F0 / (1 + X**2)
    dot = DOT * factor / (1 + factor) * (1 + 1 / F0)
    t1, share = SLOW_S / (1 + factor), LEAK / (LEAK + dot)
    found = detuned_decays(runs, response)
    assert found.problems == ()
    # 4 u each: 14 numbers of one seed
    for decay, true_t1, true_share in zip(found.decays, t1, share, strict=True):
        assert abs(decay.lifetime.value - true_t1) < 4 * decay.lifetime.u
        assert abs(decay.prompt_share.value - true_share) < 4 * decay.prompt_share.u
        assert decay.lifetime.u < 0.005 * true_t1
    # taken for the dot's own, the laser makes its decay fast: a tenth of the light, a tenth of T1
    plain = lifetime.analyse(runs[-1], response)
    assert plain["lifetime"].value < 0.95 * SLOW_S
    assert plain.problems


def test_noise_of_the_response_is_shared_by_all_decays(tmp_path: Path) -> None:
    *runs, response = _scan(tmp_path, 2, X[[0, 1, 5, 6]])
    found = detuned_decays(runs, response)
    shared = [
        {c.source: c.u for c in d.lifetime.budget if c.source.startswith("response A")}
        for d in found.decays
    ]
    assert all(shared)
    common = set(shared[0]) & set(shared[1])
    overlap = sum(shared[0][s] * shared[1][s] for s in common)
    norms = [math.sqrt(sum(u**2 for u in s.values())) for s in shared]
    assert overlap > 0.5 * norms[0] * norms[1]


def test_a_response_wider_for_the_emission_is_one_line_of_all_budgets(tmp_path: Path) -> None:
    """It is what the decays change by with another width, both detectors together."""
    *runs, response = _scan(tmp_path, 5, X[[0, 1, 5]])

    def found(value: float, u: float) -> list[Estimate]:
        width = given("response_width", value, u)
        return [d.lifetime for d in detuned_decays(runs, response, width).decays]

    fits, up, down = found(1.1, 0.02), found(1.12, 0.0), found(1.08, 0.0)
    for k in range(2):
        (line,) = (c for c in fits[k].budget if "response_width" in c.source)
        assert line.u < 0.0
        # the weights of the detectors, which noise decides, change with the width, too
        assert line.u == pytest.approx(0.5 * (up[k].value - down[k].value), rel=0.1)


def test_runs_give_the_purcell_factor(tmp_path: Path) -> None:
    x = np.concatenate([X, [1.2, -2.3]])
    *runs, response = _scan(tmp_path, 3, x)
    rng = np.random.default_rng(4)
    u_volts = np.full(len(x), 3e-4)  # 2 % of the mode's width
    volts = CENTRE_V + x * WIDTH_V / 2 + rng.normal(0.0, u_volts)
    result = purcell.analyse_runs(
        volts, u_volts, runs, response, detector_efficiency=given("detector_efficiency", 0.7, 0.01)
    )
    assert result.problems == ()
    for name, true in (TRUTH | {"laser_leakage": LEAK / 0.7}).items():
        assert abs(result[name].value - true) < 4 * result[name].u, name
    # F0 rests on lifetimes and rates, not on where the piezo was
    assert result["purcell_factor"].u < 0.01 * F0
    assert result["cavity_fwhm_voltage"].u > 0.002 * WIDTH_V


def test_without_a_slow_decay_the_laser_cannot_be_told(tmp_path: Path) -> None:
    *runs, response = _scan(tmp_path, 5, X[:1])
    with pytest.raises(InconclusiveError, match="detune the cavity further"):
        detuned_decays(runs, response)


def test_a_vibrating_cavity_is_taken_off() -> None:
    """Mean of many still cavities, drawn one by one; without it T1 on resonance is 4 % long."""
    rng = np.random.default_rng(6)
    volts = CENTRE_V + WIDTH_V * np.array([0.0, -0.6, 0.6, -1.2, 1.2, -2.5, 2.5, -5.0, 5.0])
    rms_V = 0.1 * WIDTH_V
    x = 2 * (volts - CENTRE_V + rms_V * rng.standard_normal((200_000, 1))) / WIDTH_V
    factor = F0 / (1 + x**2)
    beta = factor / (1 + factor)
    t1 = (beta * SLOW_S / (1 + factor)).mean(axis=0) / beta.mean(axis=0)
    rate = 2e7 * beta.mean(axis=0)
    seen = (
        [uncertain(f"lifetime {k}", float(t), 1e-3 * float(t)) for k, t in enumerate(t1)],
        [uncertain(f"rate {k}", float(r), 1e-3 * float(r)) for k, r in enumerate(rate)],
    )
    found = purcell.analyse(volts, *seen, vibration_V=uncertain("vibration", rms_V, 0.1 * rms_V))
    assert found["purcell_factor"].value == pytest.approx(F0, rel=2e-3)  # of 200 000 places
    part = {c.source: c.u for c in found["purcell_factor"].budget}
    assert abs(part["vibration certificate"]) > 0.001 * F0
    assert purcell.analyse(volts, *seen)["purcell_factor"].value < 0.98 * F0


def test_a_pump_that_falls_off_with_the_cavity_is_noticed() -> None:
    """Rates a quarter down where the detuned cavity lets less of the pump in: not in the model."""
    volts = CENTRE_V + WIDTH_V * np.array([0.0, -0.6, 0.6, -1.2, 1.2, -2.5, 2.5, -5.0, 5.0])
    x = 2 * (volts - CENTRE_V) / WIDTH_V
    factor = F0 / (1 + x**2)
    pumped = 1 - 0.25 * x**2 / (x**2 + 30.0)
    t1, rate = SLOW_S / (1 + factor), 2e7 * factor / (1 + factor) * pumped
    result = purcell.analyse(
        volts,
        [uncertain(f"lifetime {k}", float(t), 3e-3 * float(t)) for k, t in enumerate(t1)],
        [uncertain(f"rate {k}", float(r), 3e-3 * float(r)) for k, r in enumerate(rate)],
        u_voltage_V=np.full(len(volts), 2e-4),
    )
    assert "residuals" in result.problems[0]
    assert abs(result["purcell_factor"].value - F0) < 4 * result["purcell_factor"].u
