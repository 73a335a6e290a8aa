"""The simulated lab: counts against tags, what the knobs do, and that time is simulated."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from qdchar.drivers.elliptec_ell14 import ANGLES_DEG
from qdchar.drivers.twin.detectors import clicks_per_pulse, draw_counts, mean_dead_pulses
from qdchar.drivers.twin.imperfections import Imperfections
from qdchar.drivers.twin.instrument_errors import InstrumentErrors
from qdchar.drivers.twin.lab import Lab
from qdchar.drivers.twin.light import PATHS
from qdchar.drivers.twin.tagger import Tagger
from qdchar.drivers.twin.truth import Truth
from qdchar.roles import ORTHOGONAL

PULSES_PER_S = 76.13e6


def lab_at_pi(
    path: str = "before", seed: int = 1, vibration_m: float = 0.03e-9, **settings: str
) -> Lab:
    """A lab on resonance at the pi power, with the etalon at its peak; the cavity stays there."""
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    truth = Truth.from_settings({"piezo.creep": "0", **keys})
    still = dataclasses.replace(truth.piezo, drift_m_per_s=0.0, vibration_m=vibration_m)
    lab = Lab(dataclasses.replace(truth, piezo=still), seed)
    set_power(lab, lab.truth.source.pi_power_W)
    lab.set_shutter(True)
    lab.set_piezo(3, lab.truth.cavity.resonance_V)
    set_etalon(lab)
    lab.select_path(path)
    return lab


def set_power(lab: Lab, power_W: float) -> None:
    decibels = -10.0 * np.log10(power_W / lab.truth.laser.power_W)
    lab.set_attenuation(float(decibels / lab.errors.attenuator_gain))


def set_etalon(lab: Lab) -> None:
    """Go to the effective voltage of the peak; the play operators hold a little of it back."""
    goal_V = lab.errors.etalon_peak_V
    for _ in range(5):
        behind_V = goal_V - float(lab._settings.etalon.effective_V(lab.now_s))
        lab.set_etalon_voltage(lab.etalon_voltage() + behind_V)


def photons_per_click(lab: Lab) -> tuple[float, float]:
    d = lab.truth.detectors
    return d.efficiency * d.share_a, d.efficiency * (1.0 - d.share_a)


def without_dead_time(clicks: int, dwell_s: float, dead_pulses: float) -> float:
    """Clicks per pulse without dead time, R/(1 - m R)."""
    rate = clicks / (dwell_s * PULSES_PER_S)
    return rate / (1.0 - dead_pulses * rate)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dead_time", ["0", "30e-9", "50e-9"])
def test_counts_are_those_of_the_tags(path: str, dead_time: str) -> None:
    lab = lab_at_pi(path, detector__dead_time=dead_time, detector__dark_count_rate="2000")
    dwell_s = 0.2
    clicks = np.array([lab.count(dwell_s) for _ in range(5)]).mean(axis=0)
    tags = np.zeros(3)
    for block in lab.stream(dwell_s):
        tags += np.bincount(block.channels, minlength=3)
    for found, expected in zip(tags[1:], clicks, strict=True):
        # the vibration adds some 1e-4 to Poisson noise
        u = np.hypot(np.sqrt(1.2 * expected), 2e-4 * expected)
        assert found == pytest.approx(expected, abs=4.5 * u)
    assert tags[0] == pytest.approx(dwell_s * PULSES_PER_S / 1024, abs=1)


def test_counts_scatter_as_tags_do() -> None:
    """Dead time makes clicks regular: the variance is far below the mean, in both the same."""
    lab = lab_at_pi(vibration_m=0.0)
    times = np.concatenate([b.times_ps[b.channels == 1] for b in lab.stream(0.4)])
    tags = np.bincount((times // 10**9).astype(np.int64), minlength=400)
    counts = np.array([lab.count(1e-3)[0] for _ in range(4000)])
    expected = 0.49 * 0.712 * 0.712
    variance = (1 - expected) / (1 + 2 * expected) ** 2
    for sample in (tags, counts):
        # the variance of n numbers is known to sqrt(2/n)
        found = float(sample.var(ddof=1) / sample.mean())
        assert found == pytest.approx(variance, rel=4.5 * np.sqrt(2 / len(sample)) + 0.01)


def test_photon_numbers_of_the_tags_are_the_truth() -> None:
    """Mean photon number before and after, by live clicks per pulse: vibration costs 0.04 %."""
    for path, name in (("before", "collection_efficiency"), ("after", "mean_photon_number")):
        lab = lab_at_pi(path)
        true = {n: v for n, v, _ in lab.truth.quantities()}[name]
        clicks = lab.count(1.0)
        found = [
            without_dead_time(c, 1.0, 2) / e
            for c, e in zip(clicks, photons_per_click(lab), strict=True)
        ]
        # two photons on one detector are one click: n g2/2 of a share of 0.36
        assert found == pytest.approx([true, true], rel=4e-3)


def test_g2_of_the_tags_is_the_truth() -> None:
    """Coincidences over accidental ones, without dead time."""
    for path, name in (("before", "g2_zero_source"), ("after", "g2_zero")):
        lab = lab_at_pi(path, detector__dead_time="0")
        true = {n: v for n, v, _ in lab.truth.quantities()}[name]
        n = round(0.7 * PULSES_PER_S)
        clicks, pairs = np.zeros(2), 0
        for block in lab.stream(0.7):
            pulses = [
                np.rint((block.times_ps[block.channels == c] - d - 50.0) * PULSES_PER_S * 1e-12)
                for c, d in (
                    (1, lab.errors.delay_a_ps),
                    (2, lab.errors.delay_b_ps),
                )
            ]
            clicks += [len(p) for p in pulses]
            pairs += len(np.intersect1d(*pulses, assume_unique=True))
        found = pairs * n / clicks[0] / clicks[1]
        assert found == pytest.approx(true, rel=4.5 / np.sqrt(pairs) + 0.003)


def test_rabi_oscillation_has_its_maximum_just_below_pi() -> None:
    lab = lab_at_pi(detector__dead_time="0")
    areas = np.linspace(0.85, 1.1, 51)
    counts = []
    for area in areas:
        set_power(lab, 10e-9 * area**2)
        counts.append(sum(lab.count(20.0)))
    fit = np.polyfit(areas, counts, 4)
    slopes = np.polyder(fit)
    top = min(np.roots(slopes).real, key=lambda x: abs(x - 0.97))
    # 0.977 for the dot alone; the leaked laser grows with power and moves it by 0.003
    assert top == pytest.approx(0.980, abs=0.003)
    set_power(lab, 10e-9 * 4.0)
    dark = sum(lab.count(1.0)) / (counts[25] / 20.0)
    assert dark == pytest.approx(0.22, abs=0.03)


def test_cavity_shows_its_orders_and_the_dot_lives_longer_off_resonance() -> None:
    lab = lab_at_pi()
    on = sum(lab.count(0.1))
    lab.set_piezo(3, 31.0 + 442.25 / 45 / 0.955)
    near = sum(lab.count(0.01)) * 10
    lab.set_piezo(3, 35.0)
    off = sum(lab.count(0.1))
    assert off < 0.02 * on
    assert near < 1.001 * on
    phase = np.concatenate(
        [(b.times_ps[b.channels == 1] - lab.errors.delay_a_ps) for b in lab.stream(5.0)]
    ) % (1e12 / PULSES_PER_S)
    early, late, dark = (
        np.count_nonzero((phase > low) & (phase < low + 1000)) for low in (1000, 2000, 9000)
    )
    # 1.137 ns far off resonance; the leaked laser is prompt and not in these windows
    u = np.sqrt(1 / (early - dark) + 1 / (late - dark))
    assert u < 0.1
    assert np.log((early - dark) / (late - dark)) == pytest.approx(1000 / 1137, abs=4 * u)


def test_etalon_has_three_orders_and_the_narrow_laser_its_width() -> None:
    lab = lab_at_pi("narrow", seed=5)
    volts = np.arange(0.0, 150.01, 0.1)
    counts = []
    for v in volts:
        lab.set_etalon_voltage(float(min(v, 150.0)))
        counts.append(sum(lab.count(0.02)))
    signal = np.array(counts, dtype=float)
    above = signal > 0.5 * signal.max()
    peaks = np.flatnonzero(np.diff(above.astype(int)) == 1)
    assert len(peaks) == 3
    widths = [int(np.argmin(above[p + 1 :])) * 0.1 for p in peaks]
    assert widths == pytest.approx([5.4 / 1.8] * 3, rel=0.12)  # slope varies by some 6 %


def test_power_meter_is_off_by_its_certificate_and_noisy() -> None:
    lab = lab_at_pi()
    readings = np.array([lab.power_reading_W() for _ in range(400)])
    assert readings.std() / readings.mean() == pytest.approx(0.005, rel=0.2)
    assert readings.mean() == pytest.approx(10e-9 * lab.errors.meter_response, rel=0.001)
    lab.set_shutter(False)
    assert abs(lab.power_reading_W()) < 1e-11


def test_a_tagger_whose_clock_is_slow_counts_short_times() -> None:
    """Each of its seconds lasts 1.001 s, in which there are more pulses."""
    lab, error = lab_at_pi(), 1e-3
    lab.errors = dataclasses.replace(lab.errors, tagger=Tagger(error, np.zeros(1)))
    times = np.concatenate([b.times_ps[b.channels == 0] for b in lab.stream(0.02)])
    per_tag = float(np.diff(times).mean()) / lab.sync_divider
    assert per_tag == pytest.approx(1e12 / 76.13e6 / (1.0 + error), rel=1e-8)
    # no jumps where pieces of the stream meet
    assert np.ptp(np.diff(times)) < 200


def test_clicks_make_the_other_detector_click_half_a_nanosecond_later() -> None:
    """Five times 2e-5, at the tagger's inputs: behind cables of unlike length."""

    def pairs(size: str) -> tuple[int, int]:
        lab = lab_at_pi(imperfections__cross_talk=size, imperfections__afterpulsing="5")
        blocks = list(lab.stream(0.1))
        a, b = (np.concatenate([x.times_ps[x.channels == c] for x in blocks]) for c in (1, 2))
        late = b[np.clip(np.searchsorted(b, a + 400.0), 0, len(b) - 1)] - a
        return int(np.count_nonzero((late > 400.0) & (late < 600.0))), len(a)

    (with_talk, clicks), (without, _) = pairs("5"), pairs("0")
    # of a million clicks, 100 make one of B, unless it is dead
    assert 0.3e-4 * clicks < with_talk - without < 1.3e-4 * clicks


def test_certificates_err_as_they_say() -> None:
    truth = Truth()
    benches = [InstrumentErrors.from_seed(truth, s, s, s) for s in range(400)]
    true = {"detector_efficiency": 0.712, "etalon_fsr": 100e9}
    for name, value in true.items():
        found = [c for b in benches for c in b.calibrations if c.name == name]
        pulls = np.array([(c.value - value) / c.u for c in found])
        assert abs(pulls.mean()) < 4 / np.sqrt(400)
        assert pulls.std() == pytest.approx(1.0, abs=0.16)
    gains = np.array([b.attenuator_gain for b in benches])
    assert gains.std() == pytest.approx(0.025, rel=0.16)


def test_blinking_counts_fluctuate_as_the_telegraph() -> None:
    lab = lab_at_pi(
        source__blinking_on_fraction="0.75", source__blinking_time="1e-3", detector__dead_time="0"
    )
    short = np.array([lab.count(1e-5)[0] for _ in range(4000)])
    assert short.mean() == pytest.approx(0.75 * short[short > 50].mean(), rel=0.05)
    assert np.mean(short < 20) == pytest.approx(0.25, abs=0.04)
    long = np.array([lab.count(10.0)[0] for _ in range(300)])
    relative = 2 * 0.25 / 0.75 * 1e-3 / 10.0  # 2 (1 - q)/q tau/T
    assert long.var() / long.mean() ** 2 == pytest.approx(relative, rel=0.4)


def test_brightness_fades_with_simulated_time_as_set() -> None:
    lab = lab_at_pi(drift__brightness_per_hour="-0.1", detector__dead_time="0")
    first = sum(lab.count(1.0))
    started = time.monotonic()
    lab.advance(3600.0)
    assert time.monotonic() - started < 1.0
    assert sum(lab.count(1.0)) / first == pytest.approx(0.9, abs=0.001)


def test_time_passes_with_dwells_and_streams_only() -> None:
    lab = lab_at_pi()
    before = lab._now_ps
    lab.count(0.5)
    list(lab.stream(0.25))
    lab.advance(0.125)
    time.sleep(0.01)
    lab.power_reading_W()
    assert lab._now_ps - before == 875 * 10**9


def test_one_seed_and_one_sequence_give_the_same_data() -> None:
    def sequence(seed: int) -> list[object]:
        lab = lab_at_pi(seed=seed)
        lab.step(1, 3)
        found: list[object] = [lab.power_reading_W(), lab.count(0.01)]
        for block in lab.stream(0.003):
            found += [block.times_ps.tobytes(), block.channels.tobytes()]
        return found

    assert sequence(7) == sequence(7)
    assert sequence(7) != sequence(8)


def test_power_readings_do_not_change_the_counts() -> None:
    """Random numbers of one instrument are not those of another."""
    lab, other = lab_at_pi(), lab_at_pi()
    other.power_reading_W()
    assert lab.count(0.1) == other.count(0.1)


def test_steps_move_the_mirror_unevenly() -> None:
    lab = lab_at_pi()
    lab.step(1, 20)
    up = lab._settings.coarse_m
    lab.step(1, -20)
    assert 0.9e-6 < up < 1.5e-6
    assert 0.0 < lab._settings.coarse_m < 0.3 * up
    lab.step(3, 5)
    lab.step(2, 5)
    assert lab._settings.coarse_m < 0.3 * up


@pytest.mark.parametrize(
    "refused",
    [
        lambda lab: lab.set_piezo(3, 151.0),
        lambda lab: lab.set_piezo(4, 1.0),
        lambda lab: lab.set_piezo(3, float("nan")),
        lambda lab: lab.set_attenuation(-0.1),
        lambda lab: lab.set_etalon_voltage(150.1),
        lambda lab: lab.select_path("sideways"),
        lambda lab: lab.count(0.0),
        lambda lab: next(lab.stream(-1.0)),
        lambda lab: lab.advance(-1.0),
    ],
)
def test_what_cannot_be_is_refused(refused: object) -> None:
    lab = Lab(Truth(), 1)
    with pytest.raises(ValueError, match=r"must be|there are|cannot"):
        refused(lab)  # type: ignore[operator]
    assert lab.piezo_voltage(3) == 0.0
    assert lab.selected_path() == "blocked"
    assert not lab.shutter()


@pytest.mark.parametrize("p", [1e-7, 0.01, 0.3])
@pytest.mark.parametrize("dead_pulses", [0.0, 2.0, 3.4])
def test_drawn_counts_have_the_mean_and_variance_of_the_renewal_process(
    p: float, dead_pulses: float
) -> None:
    rng = np.random.default_rng(3)
    mean, variance = (float(v) * 1e6 for v in clicks_per_pulse(p, dead_pulses))
    counts = np.array([draw_counts(rng, mean, variance) for _ in range(4000)])
    u = np.sqrt(variance / 4000)
    assert counts.mean() == pytest.approx(mean, abs=4.5 * u)
    # the fourth moment of a Poisson distribution of mean 0.1 widens the usual sqrt(2/n)
    spread = np.sqrt((2.0 + 1.0 / mean) / 4000)
    assert counts.var() == pytest.approx(variance, rel=4.5 * spread)


def test_dead_pulses_near_whole_periods() -> None:
    """By brute force: how often the k-th pulse after a click falls into the dead time."""
    rng = np.random.default_rng(1)
    period_s, lifetime_s = 1 / PULSES_PER_S, 300e-12
    first, later = rng.exponential(lifetime_s, (2, 400_000))
    for dead_s in (1e-9, 13.0e-9, 13.3e-9, 26.2e-9, 30e-9):
        expected = sum(np.mean(k * period_s + later - first < dead_s) for k in range(1, 5))
        assert float(mean_dead_pulses(dead_s, PULSES_PER_S, lifetime_s)) == pytest.approx(
            expected, abs=0.005
        )


def test_receiver_errs_as_often_as_it_should_in_the_mean_over_the_states() -> None:
    """Modulator and analyser set by hand; unequal outputs cancel with the analyser turned."""
    lab = lab_at_pi("receiver", modulator__misalignment="0.03", detector__dead_time="0")
    v, zero = lab.truth.transmitter.half_wave_V, lab.truth.analyser
    volts = {"H": (0, 0), "V": (v, 0), "D": (v / 2, 0), "A": (-v / 2, 0)}
    volts |= {"R": (v / 2, v / 2), "L": (v / 2, -v / 2)}

    def clicks(sent: str, analysed: str) -> np.ndarray:
        for channel in (1, 2):
            lab.set_modulator(channel, volts[sent][channel - 1])
        quarter, half = ANGLES_DEG[analysed]
        lab.turn_plate("quarter", zero.quarter_zero_deg + quarter)
        lab.turn_plate("half", zero.half_zero_deg + half)
        return np.array(lab.count(2.0), dtype=float)

    found = {}
    for state, other in ORTHOGONAL.items():
        (r1, w1), (w2, r2) = clicks(state, state), clicks(state, other)
        odds = np.sqrt(w1 * w2 / r1 / r2)
        found[state] = odds / (1 + odds)
        assert found[state] == pytest.approx(lab.errors.misalignment[state], rel=0.01)
    assert np.mean(list(found.values())) == pytest.approx(0.03, rel=4e-3)
    assert np.std(list(found.values())) > 1e-3
    assert sum(clicks("H", "D")) == pytest.approx(2 * clicks("H", "D")[0], rel=0.1)


def test_errors_of_a_lab_are_drawn_independently() -> None:
    """Of 300 labs: no two errors are the same numbers, and each has the size that it says."""
    truth = Truth(imperfections=Imperfections())
    drawn = []
    for seed in range(300):
        errors = InstrumentErrors.from_seed(truth, seed, seed + 1000, seed + 2000)
        own, meter = errors.deviations, errors.meter
        drawn.append(
            [
                *own.certified.values(),
                *own.plates_rad,
                own.linearity_s - own.known["detector_linearity"],
                *own.loss_dB.values(),
                *own.known.values(),
                own.meter_gain,
                errors.meter_response * own.meter_gain,
                meter.zero_left_W - own.known["power_meter_zero"],
                meter.linearity - own.known["power_meter_linearity"],
                errors.tagger.clock - own.known["tagger_clock"],
            ]
        )
    together = np.corrcoef(np.array(drawn).T)
    np.fill_diagonal(together, 0.0)
    # 1/sqrt(300) is one standard deviation
    assert np.abs(together).max() < 4.5 / np.sqrt(300)
    sizes = {-4: 0.005, -3: 2e-12, -2: 1e-3, -1: 1e-6}
    for column, size in sizes.items():
        assert np.std(np.array(drawn)[:, column]) == pytest.approx(size, rel=0.2)
