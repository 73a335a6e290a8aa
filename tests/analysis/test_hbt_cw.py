from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from driven_emitter import Emitter
from numpy.typing import NDArray
from scipy import integrate, linalg, stats

from qdchar.analysis import hbt_cw
from qdchar.analysis.hbt_cw.dip_model import Dip, pair_response
from qdchar.cli.fit import fit
from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.tags import TagWriter
from qdchar.tags.counting.correlation import pair_histogram
from qdchar.tags.formats.delay_histogram import DelayHistogram

BIN_PS = 400
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
TWO_LEVELS = Emitter(into_dark=1e-12, background_per_ns=0.004, jitter_ns=(0.1, 0.2))


def response(detector: str, sigma_ns: float, u_rel: float = 0.0) -> Estimate:
    value = sigma_ns * 1e-9 * FWHM
    budget = (Contribution(f"certificate {detector}", u_rel * value, "B"),) if u_rel else ()
    return Estimate(
        name="response_fwhm",
        value=value,
        method="",
        budget=budget,
    )


def responses(emitter: Emitter, u_rel: float = 0.0) -> tuple[Estimate, Estimate]:
    a, b = emitter.jitter_ns
    return response("A", a, u_rel), response("B", b, u_rel)


def histogram(
    emitter: Emitter, rng: np.random.Generator, span_ns: float, blocks: int = 1
) -> DelayHistogram:
    """All pairs within 30 ns."""
    a, b = ((1e3 * clicks).astype(np.int64) for clicks in emitter.clicks(rng, span_ns))
    edges = np.linspace(0.0, 1e3 * span_ns, blocks + 1)
    in_a, in_b = (np.searchsorted(clicks, edges) for clicks in (a, b))
    counts = [
        pair_histogram(
            a[in_a[k] : in_a[k + 1]],
            b[in_b[k] : in_b[k + 1]],
            start_ps=-30_000,
            bin_ps=BIN_PS,
            n_bins=60_000 // BIN_PS,
        )
        for k in range(blocks)
    ]
    return DelayHistogram(-30e-9, 1e-12 * BIN_PS, np.stack(counts, axis=1))


def inside(estimate: Estimate, truth: float) -> tuple[bool, bool]:
    v, u = estimate.value, estimate.u
    low_68, high_68 = estimate.interval_68 or (v - u, v + u)
    low_95, high_95 = estimate.interval_95 or (v - 1.96 * u, v + 1.96 * u)
    return low_68 <= truth <= high_68, low_95 <= truth <= high_95


def test_the_emitter_of_the_tests_is_the_textbook_one() -> None:
    # its correlation has the two exponentials of the model, with a from the initial slope
    emitter = Emitter()
    t1, t2 = emitter.times_ns
    tau = np.linspace(0.0, 40.0, 50)
    exact = np.array([emitter.g2(t) for t in tau])
    a = (emitter.g2(t2) - 1.0 + np.exp(-t2 / t1)) / (np.exp(-1.0) - np.exp(-t2 / t1))
    model = 1.0 - (1.0 + a) * np.exp(-tau / t1) + a * np.exp(-tau / t2)
    assert exact == pytest.approx(model, abs=1e-9)
    assert a > 0.2


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.4, 3.0])
def test_binned_dip_is_the_integral_of_the_convolution(sigma: float) -> None:
    dip = Dip(g2_zero=0.1, time_s=0.7, rise=0.5, bunching_time_s=9.0)

    def plain(t: float) -> float:
        return 1.0 - 1.4 * np.exp(-abs(t) / 0.7) + 0.5 * np.exp(-abs(t) / 9.0)

    def seen(t: float) -> float:
        if sigma == 0.0:
            return plain(t)
        reach = 9.0 * sigma
        pieces = sorted({t - reach, t + reach, min(max(0.0, t - reach), t + reach)})
        return sum(
            integrate.quad(lambda s: plain(s) * stats.norm.pdf(t - s, scale=sigma), a, b)[0]
            for a, b in pairwise(pieces)
        )

    edges = np.array([-4.0, -1.0, -0.2, 0.3, 0.5, 2.0])
    expected = [
        integrate.quad(seen, a, b, points=[0.0] if a < 0 < b else None, epsabs=1e-9)[0] / (b - a)
        for a, b in pairwise(edges)
    ]
    assert dip.binned(edges, sigma) == pytest.approx(expected, abs=1e-7)
    assert dip.bottom(sigma) == pytest.approx(seen(0.0), abs=1e-7)


def test_responses_add_in_quadrature() -> None:
    a, b = response("A", 0.3, 0.1), response("B", 0.4, 0.1)
    both = pair_response(a, b)
    assert both.value == pytest.approx(0.5e-9)
    # (0.3 * 0.03 and 0.4 * 0.04)/0.5, two certificates; the same one twice is one error
    assert both.u == pytest.approx(np.hypot(0.018, 0.032) * 1e-9)
    twice = pair_response(a, a)
    assert twice.u == pytest.approx(0.1 * twice.value)


@pytest.mark.parametrize(
    ("emitter", "u_rel", "runs"),
    [(Emitter(background_per_ns=0.004), 0.0, 60), (TWO_LEVELS, 0.05, 20)],
    ids=["three levels", "two levels"],
)
def test_intervals_cover(emitter: Emitter, u_rel: float, runs: int) -> None:
    rng = np.random.default_rng(1)
    t1, _ = emitter.times_ns
    truth = {
        "g2_zero": emitter.g2_zero,
        "antibunching_time": t1 * 1e-9,
        "electronic_delay": emitter.delay_ns * 1e-9,
    }
    covered: dict[str, list[tuple[bool, bool]]] = {name: [] for name in truth}
    values = []
    bunched = 0
    for _ in range(runs):
        # the certificates err, too
        given = [
            replace(e, value=e.value * (1.0 + u_rel * rng.standard_normal()))
            for e in responses(emitter, u_rel)
        ]
        counts = histogram(emitter, rng, 4e5, blocks=20)
        result = hbt_cw.analyse(counts, "run", pair_sigma=pair_response(*given))
        for name, true in truth.items():
            covered[name].append(inside(result[name], true))
        values.append(result["g2_zero"].value)
        bunched += "bunching_time" in [e.name for e in result.estimates]
    for name, hits in covered.items():
        in_68, in_95 = np.mean(hits, axis=0)
        # 3.3 standard deviations of a binomial
        assert abs(in_68 - 0.683) < 3.3 * (0.683 * 0.317 / runs) ** 0.5, name
        assert in_95 > 0.95 - 3.3 * (0.95 * 0.05 / runs) ** 0.5, name
    # values spread further down than up; the median of a normal one scatters by 1.25/sqrt(runs)
    assert np.median(values) == pytest.approx(truth["g2_zero"], abs=4 * np.std(values) / runs**0.5)
    # where there is none it is not found
    assert bunched > 0.9 * runs if emitter is not TWO_LEVELS else bunched < 0.05 * runs


def test_a_pure_emitter_has_a_limit() -> None:
    emitter = replace(TWO_LEVELS, background_per_ns=0.0)
    rng = np.random.default_rng(2)
    found = [
        hbt_cw.analyse(
            histogram(emitter, rng, 3e5), "run", pair_sigma=pair_response(*responses(emitter))
        )
        for _ in range(10)
    ]
    g2 = [r["g2_zero"] for r in found]
    assert min(e.value for e in g2) < 0.0 < max(e.value for e in g2)  # as it comes
    assert all(e.interval_95 is not None and e.interval_95[0] == 0.0 < e.interval_95[1] for e in g2)
    assert np.mean([inside(e, 0.0)[1] for e in g2]) > 0.75
    # the dip as seen is filled up by the response: erfcx(sigma/(sqrt 2 t1)) of it is missing
    seen = Dip(0.0, emitter.times_ns[0]).bottom(float(np.hypot(*emitter.jitter_ns)))
    assert np.mean([r["g2_zero_dip"].value for r in found]) == pytest.approx(seen, abs=0.02)
    assert seen > 0.15


def test_a_response_that_is_badly_known_is_in_the_budget() -> None:
    emitter = Emitter(jitter_ns=(0.3, 0.3))
    counts = histogram(emitter, np.random.default_rng(3), 2e6)
    exact, doubtful = (
        hbt_cw.analyse(counts, "run", pair_sigma=pair_response(*responses(emitter, u)))
        for u in (0.0, 0.2)
    )
    assert doubtful["g2_zero"].u > 1.3 * exact["g2_zero"].u
    assert {"certificate A", "certificate B"} <= {c.source for c in doubtful["g2_zero"].budget}


def _tags(folder: Path, emitter: Emitter, span_ns: float) -> Path:
    clicks = emitter.clicks(np.random.default_rng(4), span_ns)
    times = np.concatenate(clicks)
    channels = np.repeat(np.array([1, 2], np.uint8), [len(c) for c in clicks])
    order = np.argsort(times)
    ticks = np.maximum(1e3 * times[order], 0.0).astype(np.int64)
    with TagWriter(folder / "cw.h5", resolution_ps=1.0) as writer:
        writer.append(ticks, channels[order], covered_until_ps=round(1e3 * span_ns) + 10_000)
    return folder / "cw.h5"


def test_command_on_time_tags(tmp_path: Path) -> None:
    emitter = Emitter(background_per_ns=0.004)
    file = _tags(tmp_path, emitter, 2e6)
    a, b = (str(e.value) for e in responses(emitter))
    done = CliRunner().invoke(
        fit,
        ["hbt-cw", str(file), "--response-fwhm", a, "1e-12", "--response-fwhm", b, "1e-12",
         "--range", "60e-9", "--figure", str(tmp_path / "dip.png"), "--json"],
        standalone_mode=False,
    )  # fmt: skip
    assert done.return_value == 0, done.output
    found = json.loads(done.output.splitlines()[-1])["quantities"]

    def near(name: str, truth: float) -> None:
        assert abs(found[name]["value"] - truth) < 3.5 * found[name]["u"], name

    t1, t2 = emitter.times_ns
    near("g2_zero", emitter.g2_zero)
    near("antibunching_time", t1 * 1e-9)
    near("bunching_time", t2 * 1e-9)
    near("electronic_delay", 3e-9)
    near("g2_zero_time_averaged", emitter.g2_zero)
    near("blinking_amplitude", 0.0)
    assert found["g2_zero_dip"]["value"] > found["g2_zero"]["value"]
    assert (tmp_path / "dip.png").exists()


def test_without_a_response_it_stays_in() -> None:
    emitter = replace(TWO_LEVELS, background_per_ns=0.0)
    counts = histogram(emitter, np.random.default_rng(5), 1e6)
    result = hbt_cw.analyse(counts, "run")
    assert "response not removed" in result["g2_zero"].method
    assert result["g2_zero"].value > 0.1
    assert result["g2_zero"].value == pytest.approx(result["g2_zero_dip"].value)


def test_a_real_pulsed_or_flat_histogram_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    flat: NDArray[np.int64] = rng.poisson(50.0, (240, 1))
    with pytest.raises(InconclusiveError, match="no dip"):
        hbt_cw.analyse(DelayHistogram(-30e-9, 0.25e-9, flat), "flat", delay_s=0.0)
    np.savez(tmp_path / "flat.npz", delay_ns=np.arange(-30, 30, 0.25), counts=flat)
    with pytest.raises(UsageError, match="is a histogram"):
        hbt_cw.analyse_file(tmp_path / "flat.npz", bin_s=1e-9)
    with pytest.raises(UsageError, match="two detectors"):
        hbt_cw.analyse_file(tmp_path / "flat.npz", response_fwhm=[response("A", 0.1)] * 3)


def test_start_stop_and_other_misfits_are_named() -> None:
    # a start-stop histogram falls off with the rate: here by a quarter over the range
    emitter = replace(TWO_LEVELS, background_per_ns=0.0)
    counts = histogram(emitter, np.random.default_rng(7), 4e6).counts[:, 0]
    delays = np.arange(-30, 30, 1e-3 * BIN_PS)
    kept = np.random.default_rng(8).binomial(counts, np.exp(-(delays + 30) / 100))
    result = hbt_cw.analyse(DelayHistogram(-30e-9, 1e-12 * BIN_PS, kept[:, None]), "start-stop")
    assert any("start-stop" in p for p in result.problems)


def test_an_even_number_of_bins_whose_last_is_the_highest() -> None:
    delay_ns = 0.4 * (np.arange(140) - 69.5)
    counts = np.rint(2e4 * (1.0 - 0.8 * np.exp(-np.abs(delay_ns + 6.2) / 1.3))).astype(np.int64)
    counts[-1] += 900
    found = hbt_cw.analyse(DelayHistogram(-28e-9, 0.4e-9, counts[:, None]), "even")
    assert found["electronic_delay"].value == pytest.approx(-6.2e-9, abs=0.05e-9)


def test_strong_driving_makes_the_dip_oscillate() -> None:
    """Optical Bloch equations on resonance, of few pairs: nothing else would be noticed."""
    rng = np.random.default_rng(61)
    decay, rabi = 0.9, 2.0  # per ns, angular
    # inversion w and coherence v: v' = -decay v/2 + rabi w, w' = -decay (w + 1) - rabi v
    rates = np.array([[-decay / 2, rabi], [-rabi, -decay]])
    steady = np.linalg.solve(rates, [0.0, decay])
    tau = np.abs(np.arange(-20, 20, 0.1) + 0.05)
    start = np.array([0.0, -1.0]) - steady
    inversion = np.array([(steady + linalg.expm(rates * t) @ start)[1] for t in tau])
    own = (1 + inversion) / (1 + steady[1])
    counts = rng.poisson(60 * (0.1 + 0.9 * own))
    found = hbt_cw.analyse(DelayHistogram(-20e-9, 0.1e-9, counts[:, None]), "driven")
    g2, frequency = found["g2_zero"], found["rabi_frequency"]
    assert g2.value == pytest.approx(0.1, abs=3 * g2.u)
    assert g2.u < 0.04
    turn = np.sqrt(rabi**2 - (decay / 4) ** 2) / (2 * np.pi) * 1e9
    assert frequency.value == pytest.approx(turn, abs=3 * frequency.u)
    assert frequency.u < 0.03 * turn
    time = found["antibunching_time"]
    assert time.value == pytest.approx(4 / (3 * decay) * 1e-9, abs=3 * time.u)
    assert not found.problems
