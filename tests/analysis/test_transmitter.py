from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import Light, record

from qdchar.analysis import transmitter
from qdchar.analysis.detection.reception import Reception
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, covariance
from qdchar.tags import open_tags

SOURCE = Light()
AFTER = replace(SOURCE, mean_photons=0.292, g2=0.00698)
ETA = Estimate(
    name="detector_efficiency",
    value=0.712,
    method="given",
    budget=(Contribution("calibration detector_efficiency", 0.018, "B"),),
)
DARKS = Estimate(
    name="dark_count_rate",
    value=43.0,
    method="given",
    budget=(Contribution("dark counts", 1.0),),
)
TRUTH = 0.292 / 0.712


def throughput(folder: Path, rng: np.random.Generator, *levels: float, pulses: int = 150_000):
    """Runs before at these brightnesses (relative), and one after at the first's mean."""
    before = [
        record(
            folder,
            f"before{rng.integers(1 << 40)}",
            rng,
            pulses,
            replace(SOURCE, mean_photons=0.712 * level),
        )
        for level in levels
    ]
    middle = replace(AFTER, mean_photons=0.292 * np.mean(levels))
    after = [record(folder, f"after{rng.integers(1 << 40)}", rng, pulses, middle)]
    return transmitter.analyse(before, after, detector_efficiency=ETA, dark_count_rate=DARKS)


def test_certificate_cancels_in_the_ratio_only(tmp_path: Path) -> None:
    result = throughput(tmp_path, np.random.default_rng(1), 1.0, 1.0)
    efficiency, mean = result["transmitter_efficiency"], result["mean_photon_number"]
    assert efficiency.value == pytest.approx(TRUTH, abs=3 * efficiency.u)
    assert efficiency.u / efficiency.value < 0.01
    assert mean.value == pytest.approx(0.292, rel=0.02)
    assert mean.u / mean.value == pytest.approx(0.018 / 0.712, rel=0.05)
    certificate = [c.u for c in efficiency.budget if "calibration" in c.source]
    assert certificate == pytest.approx([0.0], abs=1e-12)
    # what is left in common is the counting after the transmitter
    cov = covariance([efficiency, mean])
    assert 0.0 < cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) < 0.3


def given(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="given", budget=(Contribution(name, u, "B"),))


def reception(path: str, loss: Estimate) -> Reception:
    return Reception(
        path=path,
        loss=loss,
        repeatability=given("light_path_repeatability", 0.05, 0.0),
        polarisation=given("detector_polarisation", 0.06, 0.0),
        linearity=given("detector_linearity", -1e-9, 2e-10),
        certified_rate=given("detector_efficiency_rate", 1e5, 0.0),
    )


def test_paths_do_not_cancel_in_the_ratio(tmp_path: Path) -> None:
    """0.9 dB before and 0.4 dB after: what leaves is 0.5 dB less than the clicks say."""
    rng = np.random.default_rng(6)
    before = [record(tmp_path, f"before{k}", rng, 150_000, SOURCE) for k in (1, 2)]
    after = [record(tmp_path, "after", rng, 150_000, AFTER)]
    plain = transmitter.analyse(before, after, detector_efficiency=ETA, dark_count_rate=DARKS)
    found = transmitter.analyse(
        before,
        after,
        detector_efficiency=ETA,
        dark_count_rate=DARKS,
        receptions=(
            reception("before", given("path_before", 0.9, 0.06)),
            reception("after", given("path_after", 0.4, 0.03)),
        ),
    )
    name = "transmitter_efficiency"
    by_loss = found[name].value / plain[name].value
    # the fainter light after the transmitter finds the detectors 0.1 % per Mcps more efficient
    clicks = [
        np.sum([np.bincount(c.channels, minlength=3) for c in open_tags(r.file).chunks()], 0)
        / open_tags(r.file).duration_s
        for r in (before[0], after[0])
    ]
    fast, slow = (float((n[1:3] ** 2).sum() / n[1:3].sum()) for n in clicks)
    assert by_loss == pytest.approx(10**-0.05 * (1 - 1e-9 * (fast - slow)), rel=1e-3)
    line = {c.source: abs(c.u) / found[name].value for c in found[name].budget}
    dB = np.log(10) / 10
    assert line["path_before"] == pytest.approx(0.06 * dB, rel=1e-3)
    assert line["path_after"] == pytest.approx(0.03 * dB, rel=1e-3)
    u_turned = 0.06 / np.sqrt(12) / np.sqrt(2)
    for path in ("before", "after"):
        turned = line[f"polarisation at the detectors, path {path}"]
        assert turned == pytest.approx(u_turned, rel=0.01)
    assert line["switching to after, after.h5"] == pytest.approx(0.05 * dB, rel=1e-3)
    # two switchings before share their mean
    assert line["switching to before, before1.h5"] == pytest.approx(0.025 * dB, rel=0.02)
    assert line["detector_linearity"] == pytest.approx(2e-10 * (fast - slow), rel=0.02)


def test_intervals_cover(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(100):
        found = throughput(tmp_path, rng, 1.0, 1.0, pulses=60_000)["transmitter_efficiency"]
        pulls.append((found.value - TRUTH) / found.u)
    assert 0.54 < np.mean(np.abs(pulls) < 1) < 0.85  # 3 standard deviations of a binomial
    assert np.mean(np.abs(pulls) < 1.96) > 0.88
    assert abs(np.mean(pulls)) < 0.3


def test_linear_drift_drops_out_and_is_carried(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    steady = throughput(tmp_path, rng, 1.0, 1.0)["transmitter_efficiency"]
    found = throughput(tmp_path, rng, 1.05, 0.95)["transmitter_efficiency"]
    assert found.value == pytest.approx(TRUTH, abs=3 * steady.u)
    # 10 % between the runs, anywhere along it
    assert found.u / found.value == pytest.approx(0.1 / np.sqrt(12), rel=0.15)
    assert "drift 1" in found.method


def test_shared_run_is_shared_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    before = [record(tmp_path, "before", rng, 100_000, SOURCE)]
    after = [record(tmp_path, "after", rng, 100_000, AFTER)]
    same = transmitter.analyse(before, before, detector_efficiency=ETA)["transmitter_efficiency"]
    assert same.value == 1.0
    assert same.u == pytest.approx(0.0, abs=1e-12)
    twice = [
        transmitter.analyse(before, a, detector_efficiency=ETA)["transmitter_efficiency"].u
        for a in (after, after * 2)
    ]
    assert twice[1] == pytest.approx(twice[0])


def test_both_results_are_those_on_resonance(tmp_path: Path) -> None:
    """A transmission that is 4 % too high during the run, known to 1 %."""
    rng = np.random.default_rng(5)
    before = [record(tmp_path, "before", rng, 50_000, SOURCE)]
    after = [record(tmp_path, "after", rng, 50_000, AFTER)]
    correction = Estimate(
        name="transmission_detuning_correction",
        value=0.04,
        method="",
        budget=(Contribution("detuning", 0.01, "B"),),
    )
    plain = transmitter.analyse(before, after, detector_efficiency=ETA)
    moved = transmitter.analyse(
        before, after, detector_efficiency=ETA, detuning_correction=correction
    )
    for was, now in zip(plain.estimates, moved.estimates, strict=True):
        assert now.value == pytest.approx(was.value / 1.04, rel=1e-12)
        part = {c.source: c.u for c in now.budget}["detuning"]
        assert part == pytest.approx(-was.value / 1.04**2 * 0.01, rel=1e-9)


@pytest.mark.parametrize(
    ("last", "drift"),
    [(0.730, 0.02645751), (0.705, 0.0), (0.678, 0.01685230)],
)
def test_drift_is_what_exceeds_the_noise_of_both_runs(last: float, drift: float) -> None:
    """From 0.700: in quadrature less a noise of 0.010 in each; the certificate is in both."""

    def run(name: str, value: float) -> Estimate:
        shared = Contribution("calibration detector_efficiency", 0.3, "B")
        return Estimate(
            name="collection_efficiency",
            value=value,
            method="",
            budget=(Contribution(f"counting {name}", 0.010), shared),
        )

    assert transmitter._drift([run("1", 0.7), run("2", last)]) == pytest.approx(drift, abs=2e-8)


def test_both_sides_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InconclusiveError, match="before and after"):
        transmitter.analyse([], [], detector_efficiency=ETA)


@pytest.mark.parametrize(("scatter", "named"), [(0.0, False), (0.03, True)])
def test_alternations_that_scatter_are_said(tmp_path: Path, scatter: float, named: bool) -> None:
    """Four switchings that change the throughput by 3 %, where counting makes 0.7 %."""
    rng = np.random.default_rng(7)
    before = [record(tmp_path, f"before{k}", rng, 100_000, SOURCE) for k in range(5)]
    after = [
        record(
            tmp_path,
            f"after{k}",
            rng,
            100_000,
            replace(AFTER, mean_photons=0.292 * (1.0 + scatter * sign)),
        )
        for k, sign in enumerate((1, -1, 1, -1))
    ]
    result = transmitter.analyse(before, after, detector_efficiency=ETA, dark_count_rate=DARKS)
    assert result["transmitter_efficiency"].value == pytest.approx(TRUTH, rel=0.01)
    assert any("scatters by" in text for text in result.problems) is named
    lines = {
        e.name: [c.u for c in e.budget if c.source.startswith("scatter of alternations")]
        for e in result.estimates
        if e.name in ("transmitter_efficiency", "mean_photon_number")
    }
    assert all(bool(line) is named for line in lines.values())
    if named:  # four values of +-3 % have a standard deviation of 3.46 %, their mean half of that
        assert lines["transmitter_efficiency"] == pytest.approx([0.0173 * TRUTH], rel=0.25)
        assert lines["mean_photon_number"] == pytest.approx([0.0173 * 0.292], rel=0.25)
