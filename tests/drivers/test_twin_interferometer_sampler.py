"""The interferometer of the simulated lab: its pattern of coincidences, and its fringes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qdchar.drivers.twin.interferometer_sampler import splitters
from qdchar.drivers.twin.lab import Lab
from qdchar.drivers.twin.truth import Truth

DURATION_S = 0.3
PULSES_PER_S = 76.13e6


def tuned(coherence: float = 0.0) -> Lab:
    """A lab without dead time and darks, on resonance at the pi power, etalon at its peak."""
    settings = {"piezo.creep": "0", "detector.dead_time": "0", "detector.dark_count_rate": "0"}
    truth = Truth.from_settings(settings)
    still = dataclasses.replace(truth.piezo, drift_m_per_s=0.0)
    source = dataclasses.replace(truth.source, coherence=coherence)
    lab = Lab(dataclasses.replace(truth, piezo=still, source=source), 1)
    decibels = -10.0 * np.log10(truth.source.pi_power_W / truth.laser.power_W)
    lab.set_attenuation(float(decibels / lab.errors.attenuator_gain))
    lab.set_shutter(True)
    lab.set_piezo(3, truth.cavity.resonance_V)
    for _ in range(5):  # the play of the etalon's piezo holds a little back
        behind_V = lab.errors.etalon_peak_V - float(lab._settings.etalon.effective_V(lab.now_s))
        lab.set_etalon_voltage(lab.etalon_voltage() + behind_V)
    lab.select_path("interferometer")
    return lab


def peaks(lab: Lab, arms: str) -> tuple[np.ndarray, np.ndarray]:
    """Clicks of both detectors per pulse, and coincidences at -3 to 3 pulses."""
    lab.select_arms(arms)
    blocks = list(lab.stream(DURATION_S))
    pulses = [
        np.rint(
            (np.concatenate([b.times_ps[b.channels == c] for b in blocks]) - delay - 50.0)
            * PULSES_PER_S
            * 1e-12
        )
        for c, delay in (
            (1, lab.errors.delay_a_ps),
            (2, lab.errors.delay_b_ps),
        )
    ]
    pairs = [
        len(np.intersect1d(pulses[0], pulses[1] - lag, assume_unique=True)) for lag in range(-3, 4)
    ]
    clicks = np.array([len(p) for p in pulses]) / (DURATION_S * PULSES_PER_S)
    return clicks, np.array(pairs)


def test_coincidences_are_those_of_single_photons_in_a_train() -> None:
    """By hand for two splitters of 47:53: what meets, what cannot be at both detectors."""
    r, t = 0.47, 0.53
    lab = tuned()
    true = {name: value for name, value, _ in lab.truth.quantities()}
    g2 = true["g2_zero"]
    clicks, pairs = peaks(lab, "orthogonal")
    n = DURATION_S * PULSES_PER_S
    photons = true["mean_photon_number"] * lab.truth.detectors.efficiency
    assert clicks == pytest.approx(
        # photons that meet on one detector are one click
        photons * np.array([r**2 + t**2, 2 * r * t]) - (photons * r * t) ** 2,
        rel=4e-3,
    )
    u = 4.5 / np.sqrt(pairs)
    far = n * clicks[0] * clicks[1]
    # A in the short arm at one pulse and B a pulse later would be one photon, and the reverse
    same = np.array([r * r, t * t]) * r * t / ((r * r + t * t) * 2 * r * t)
    beside = far * (1 - (1 - g2) * same)
    assert pairs[[2, 4]] == pytest.approx(beside, rel=float(u[2]) + 0.02)
    centre = n * photons**2 * r * t * (r**2 + t**2) * (1 + g2)
    assert pairs[3] == pytest.approx(centre, rel=float(u[3]) + 0.012)
    assert pairs[[0, 1, 5, 6]] == pytest.approx(np.full(4, far), rel=float(u[0]))
    _, alike = peaks(lab, "parallel")
    assert 1 - alike[3] / pairs[3] == pytest.approx(true["visibility"], abs=4.5 * 6e-4)


def test_coherent_pulses_make_fringes_and_orthogonal_arms_none() -> None:
    lab = tuned(coherence=0.4)
    r, t, o = 0.47, 0.53, 0.995
    volts = np.arange(0.0, 24.0, 3.0)

    def shares() -> np.ndarray:
        found = []
        for v in volts:
            lab.set_phase_voltage(float(v))
            a, b = lab.count(0.05)
            found.append(a / (a + b))
        return np.array(found)

    phase = lab.errors.phase_rad + 2 * np.pi * volts / 24.0
    # clicks, not photons: two on one detector are one
    expected = r**2 + t**2 + 2 * r * t * 0.4 * o * np.cos(phase)
    assert shares() == pytest.approx(expected, abs=0.012)
    lab.select_arms("orthogonal")
    assert np.ptp(shares()) < 0.005


def test_a_coherence_that_the_model_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="too large for this model"):
        splitters(0.47, 0.47, 0.47, 0.98, 0.99, 0.0)


def test_unlike_splitters_have_their_own_probabilities() -> None:
    """Amplitudes: a photon pair splits with |t2 t2 - r2 r2|^2 if alike, a beat needs both."""
    r1, r2, r2o = 0.42, 0.3, 0.6
    alike = splitters(r1, r2, r2, 1.0, 0.1, np.pi / 3)
    assert 1 - 2 * (r2 * (1 - r2) + alike.bunching) == pytest.approx((1 - 2 * r2) ** 2)
    field = np.sqrt((1 - r1) * (1 - r2)) + np.sqrt(r1 * r2) * np.exp(1j * np.pi / 3)
    beat = abs(field) ** 2 - (1 - r1) * (1 - r2) - r1 * r2
    to_a = (1 - r1) * alike.short_to_a + r1 * alike.long_to_a
    assert to_a == pytest.approx((1 - r1) * (1 - r2) + r1 * r2 + 0.1 * beat)
    turned = splitters(r1, r2, r2o, 0.0, 0.0, 0.0)
    assert (turned.short_to_a, turned.long_to_a, turned.bunching) == pytest.approx((0.7, 0.6, 0.0))


def test_visibility_of_unlike_splitters() -> None:
    """By hand: R1 = 0.47, R2 = 0.48, and 0.50 for the other polarisation."""
    truth = Truth.from_settings({"source.g2": "0", "imperfections.splitters": "3"})
    assert truth.reflectances == pytest.approx((0.47, 0.48, 0.50))
    true = {name: value for name, value, _ in truth.quantities()}
    parallel = 0.52**2 + 0.48**2 - 2 * 0.52 * 0.48 * 0.9856 * 0.995**2
    assert true["visibility"] == pytest.approx(1 - parallel / (0.52 * 0.5 + 0.48 * 0.5), rel=1e-9)
