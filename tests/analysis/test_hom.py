"""Two-photon interference against a train of photons drawn one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scans import given
from pulse_train import Arms, record
from pulsed_light import Light

from qdchar.analysis import hom
from qdchar.analysis.models.interferometer import Interferometer
from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate
from qdchar.fit import Result

LIGHT = Light(mean_photons=0.29, g2=0.007)


def raw(light: Light, arms: Arms) -> float:
    """V of the photons themselves: pairs that meet, and pairs of one pulse."""
    r1, r2, r2o = arms.reflectance, arms.second, arms.turned
    t1, t2, t2o = 1 - r1, 1 - r2, 1 - r2o
    pairs = light.g2 * light.on_fraction  # g2 while it shines
    # both transmitted or both reflected by the second splitter, after one each way at the first
    alike = arms.alike * arms.overlap**2
    together = r1 * t1 * ((t2 - r2) ** 2 * alike + (t2**2 + r2**2) * (1 - alike))
    together += pairs * (t1**2 + r1**2) * r2 * t2
    crossed = r1 * t1 * (t2 * t2o + r2 * r2o) + pairs * (t1**2 * r2 * t2 + r1**2 * r2o * t2o)
    return 1 - together / crossed


def certified(arms: Arms, rng: np.random.Generator | None = None, u: float = 0.0) -> Interferometer:
    """Certificates that are off by their errors."""

    def one(name: str, value: float, u: float) -> Estimate:
        return given(f"interferometer_{name}", value if rng is None else rng.normal(value, u), u)

    return Interferometer(
        first=one("reflectance", arms.reflectance, u),
        second=one("reflectance_2", arms.second, u),
        orthogonal=one("reflectance_orthogonal", arms.turned, u),
        overlap=one("overlap", arms.overlap, 0.5 * u),
    )


def measured(
    folder: Path,
    rng: np.random.Generator,
    pulses: int,
    light: Light,
    arms: Arms,
    dimmer: float = 1.0,
    uncertain: float = 0.0,
) -> Result:
    """Both settings; the second is dimmer, the certificates are off by their errors."""
    second = replace(light, mean_photons=light.mean_photons * dimmer)
    runs = [
        record(folder, "parallel", rng, pulses, light, arms),
        record(folder, "orthogonal", rng, pulses, second, replace(arms, parallel=False)),
    ]
    u_r, u_g = 0.004 * uncertain, 1e-4
    b = 1 / light.on_fraction - 1
    return hom.analyse(
        runs,
        g2=given("g2_zero", rng.normal(light.g2, u_g), u_g),
        interferometer=certified(arms, rng, u_r),
        dark_count_rate=given("dark_count_rate", light.dark_hz, 0.1 * light.dark_hz),
        blinking=given("blinking_amplitude", b, 0.0) if b else None,
    )


@pytest.mark.parametrize(
    ("light", "arms", "dimmer"),
    [
        (LIGHT, Arms(), 0.9),
        (
            replace(LIGHT, g2=0.05, dead_ps=60_000.0),
            Arms(alike=0.6, reflectance=0.42, second=0.36, turned=0.55),
            1.0,
        ),
        (replace(LIGHT, mean_photons=0.3, on_fraction=0.75), Arms(alike=0.9), 1.0),
    ],
    ids=["drift between the settings", "poor photons, uneven splitters", "blinking"],
)
def test_intervals_cover(tmp_path, light, arms, dimmer) -> None:
    rng = np.random.default_rng(5)
    runs = 100
    true = {"visibility": raw(light, arms), "indistinguishability": arms.alike}
    pulls = {name: [] for name in true}
    inside = {name: [] for name in true}
    for _ in range(runs):
        result = measured(tmp_path, rng, 300_000, light, arms, dimmer, uncertain=1.0)
        for name, value in true.items():
            e = result[name]
            pulls[name].append((e.value - value) / e.u)
            one = e.interval_68 or (e.value - e.u, e.value + e.u)
            two = e.interval_95 or (e.value - 1.96 * e.u, e.value + 1.96 * e.u)
            inside[name].append([low <= value <= high for low, high in (one, two)])
    for name in true:
        within_68, within_95 = np.mean(inside[name], axis=0)
        # three binomial standard deviations of 100 runs
        assert within_68 > 0.68 - 3 * np.sqrt(0.68 * 0.32 / runs), name
        assert within_95 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs), name
        # the multi-photon part's origin is a doubt that is the same in all runs
        assert abs(np.mean(pulls[name])) < 0.5, name
        assert np.std(pulls[name]) < 1.25, name


def test_coincidences_with_a_dark_count_are_counted_once() -> None:
    """Half of 0.02 a pulse on each detector: with 300 and 500 clicks of the other one, 8 meet."""
    halves = np.array([[5e4, 100.0, 350.0, 4.0], [5e4, 200.0, 150.0, 26.0]])
    assert hom._coincidences(halves, 0.02) == pytest.approx((22.0, 8.0))


def test_unequal_splitters_and_overlap_are_taken_out_of_the_visibility() -> None:
    arms = Arms(alike=0.6, reflectance=0.42, second=0.42, turned=0.42, overlap=0.95)
    v = raw(replace(LIGHT, g2=0.0), arms)
    assert v == pytest.approx(0.6 * 0.4872 / 0.5128 * 0.9025)
    none = given("g2_zero", 0.0, 0.0)
    visibility = given("visibility", v, 0.01)
    found = hom._indistinguishability(visibility, none, certified(arms), None)
    assert found.value == pytest.approx(0.6, rel=1e-9)
    assert found.u == pytest.approx(0.01 * 0.6 / v, rel=1e-6)


@pytest.mark.parametrize(("second", "turned"), [(0.3, 0.3), (0.52, 0.35), (0.42, 0.6)])
def test_unlike_splitters_are_taken_out_of_the_visibility(second, turned) -> None:
    """At g2 = 0.1 the middle of both origins of the pairs is M (1 + g2/2)."""
    arms = Arms(alike=0.6, reflectance=0.42, second=second, turned=turned, overlap=0.95)
    light = replace(LIGHT, g2=0.1)
    given_v, given_g2 = given("visibility", raw(light, arms), 0.0), given("g2_zero", 0.1, 0.0)
    found = hom._indistinguishability(given_v, given_g2, certified(arms), None)
    assert found.value == pytest.approx(0.6 * 1.05, rel=1e-9)


@pytest.mark.parametrize("name", ["first", "second", "orthogonal", "overlap"])
def test_each_certificate_has_its_line_in_the_budget(name) -> None:
    """Perturb one, analyse again."""
    arms = Arms(alike=0.6, reflectance=0.42, second=0.3, turned=0.55, overlap=0.95)
    v, none = given("visibility", raw(replace(LIGHT, g2=0.0), arms), 0.0), given("g2_zero", 0, 0)
    exact = certified(arms)

    def found(error: float, u: float) -> Estimate:
        old = getattr(exact, name)
        off = given(old.name, old.value + error, u)
        return hom._indistinguishability(v, none, replace(exact, **{name: off}), None)

    (line,) = (c for c in found(0.0, 1e-3).budget if "certificate" in c.source)
    assert found(1e-3, 0.0).value - found(-1e-3, 0.0).value == pytest.approx(2 * line.u, rel=1e-2)


def test_a_certificate_of_one_half_is_not_taken_for_exact() -> None:
    """R2 = 0.5 + d gives M = (V + 4 d^2)/(1 - 4 d^2): V + 4 (1 + V) d^2, for either sign of d.

    The square of a normal error of 0.03 has a standard deviation of sqrt(2) 0.03^2.
    """
    arms = Arms(0.5, 0.5, 0.5, alike=0.6, overlap=1.0)
    ideal = certified(arms)
    off = replace(ideal, second=given("interferometer_reflectance_2", 0.5, 0.03))
    v, none = given("visibility", 0.6, 0.0), given("g2_zero", 0.0, 0.0)
    found = hom._indistinguishability(v, none, off, None)
    assert found.value == pytest.approx(0.6, rel=1e-9)
    assert found.u == pytest.approx(4 * 1.6 * np.sqrt(2) * 0.03**2, rel=0.01)


def test_one_long_run_finds_the_visibility(tmp_path) -> None:
    rng = np.random.default_rng(6)
    arms = Arms(alike=0.5)
    result = measured(tmp_path, rng, 4_000_000, LIGHT, arms)
    v = result["visibility"]
    assert v.u < 0.009
    assert v.value == pytest.approx(raw(LIGHT, arms), abs=3 * v.u)
    m = result["indistinguishability"]
    assert m.value == pytest.approx(0.5, abs=3 * m.u)
    assert "one pulse per period" in m.method


def test_cross_talk_is_no_coincidence_of_photons(tmp_path) -> None:
    """One click in 2000 is followed by one of the other detector: V would be 4 u too low."""
    rng = np.random.default_rng(16)
    arms = Arms(alike=0.5, cross_talk=5e-4)
    result = measured(tmp_path, rng, 4_000_000, LIGHT, arms)
    v = result["visibility"]
    assert v.value == pytest.approx(raw(LIGHT, arms), abs=2.5 * v.u)
    (line,) = (c for c in v.budget if "delays of cross-talk" in c.source)
    assert 0.02 < abs(line.u) / v.u < 0.5
    assert result.problems == ()
    strong = measured(tmp_path, rng, 1_000_000, LIGHT, replace(arms, cross_talk=5e-3))
    assert "cross-talk" in strong.problems[0]


def test_the_pattern_of_peaks_is_that_of_a_train(tmp_path) -> None:
    """3/4 beside, 1/2 or nothing at zero, where no dead time shapes the peaks."""
    rng = np.random.default_rng(7)
    light = replace(LIGHT, dead_ps=0.0, g2=0.0, mean_photons=0.15)
    arms = Arms(0.5, 0.5, 0.5, overlap=1.0, alike=1.0)
    result = measured(tmp_path, rng, 2_000_000, light, arms)
    histogram, areas = result.fits[0].curves
    orthogonal, ideal = areas.others
    assert orthogonal.u_y is not None
    for seen, expected, u in (
        (areas.y, areas.model, areas.u_y),
        (orthogonal.y, ideal.y, orthogonal.u_y),
    ):
        assert np.max(np.abs((seen - expected) / u)) < 4.5
    # the zero peak of the drawn histogram: half of a far one, and nothing of it
    period = histogram.enlarged[1] - histogram.enlarged[0]
    zero, far = (np.abs(np.abs(histogram.x) - n * period) < 0.2 * period for n in (0, 4))
    crossed = histogram.others[0].y
    assert histogram.y[zero].sum() < 0.01 * crossed[zero].sum()
    ratio = 2.0 * crossed[zero].sum() / crossed[far].sum()
    assert ratio == pytest.approx(0.5, abs=4.5 * ratio / np.sqrt(crossed[zero].sum()))
    assert result["visibility"].value == pytest.approx(1.0, abs=1e-3)


def test_the_formula_of_pairs_of_pulses_would_be_off(tmp_path) -> None:
    """At g2 = 0.2 the two differ by 17 %; a train needs 1 + g2."""
    rng = np.random.default_rng(8)
    light = replace(LIGHT, g2=0.2, dead_ps=0.0)
    arms = Arms(0.5, 0.5, 0.5, alike=0.8, overlap=1.0)
    v = measured(tmp_path, rng, 4_000_000, light, arms)["visibility"]
    assert v.value * 1.2 == pytest.approx(0.8, abs=4 * v.u)
    assert v.value * 1.4 > 0.8 + 10 * v.u


def test_an_interval_of_perfect_photons_ends_at_one(tmp_path) -> None:
    rng = np.random.default_rng(9)
    light = replace(LIGHT, g2=0.0)
    arms = Arms(0.5, 0.5, 0.5, alike=1.0, overlap=1.0)
    m = measured(tmp_path, rng, 100_000, light, arms)["indistinguishability"]
    assert m.interval_95 is not None
    assert m.interval_95[1] == 1.0


def test_what_is_missing_is_named(tmp_path) -> None:
    rng = np.random.default_rng(10)
    run = record(tmp_path, "parallel", rng, 20_000, LIGHT, Arms())
    with pytest.raises(InconclusiveError, match="no run with orthogonal arms"):
        hom.analyse([run], g2=given("g2_zero", 0.1, 0.0), interferometer=certified(Arms()))
