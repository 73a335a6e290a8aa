"""What differs from one simulated lab to the next: errors of instruments, cables, certificates.

All errors are drawn from the seed. A station file knows the certificates, and nothing else of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from .imperfections import (
    CERTIFIED,
    KNOWN,
    OF_METER,
    OF_TAGGER,
    PLATES_U_RAD,
    POLARISATION,
    CERTIFIED_RATE_Hz,
    Deviations,
    LOSS_dB,
    LOSS_U_dB,
    REPEATABILITY_dB,
    seed_of,
)
from .polarisation import AXES
from .power_meter import GAIN_POWER_W, TAP, PowerMeter
from .tagger import Tagger
from .truth import Truth


@dataclass(frozen=True)
class Calibration:
    """A certificate as the station file holds it."""

    name: str
    value: float
    u: float
    unit: str


@dataclass(frozen=True)
class InstrumentErrors:
    """The errors of one lab's instruments, and the certificates that come with them.

    Attributes
    ----------
    meter_response
        Reading of the power meter over the true power: the inverse of ``power_meter_gain``.
    meter
        What else the power meter has of errors.
    tagger
        Errors of the time tagger.
    attenuator_gain
        Decibels that the attenuator attenuates, per decibel set.
    delay_a_ps, delay_b_ps
        Cables from the detectors to the time tagger, against the clock's.
    etalon_peak_V
        Effective voltage at which an order of the etalon meets the dot.
    narrow_offset_Hz
        Frequency of the narrow laser against the dot.
    misalignment
        Probability of the wrong output by polarisation state; the mean is the truth's.
    phase_rad
        Of the interferometer at 0 V.
    outputs
        Transmissions from the analyser's two outputs to the detectors.
    deviations
        What the lab has of healthy imperfections.
    calibrations
        Certificates; their errors are drawn, the truth stays what it is.
    """

    meter_response: float
    meter: PowerMeter
    tagger: Tagger
    attenuator_gain: float
    delay_a_ps: float
    delay_b_ps: float
    etalon_peak_V: float
    narrow_offset_Hz: float
    misalignment: Mapping[str, float]
    outputs: tuple[float, float]
    phase_rad: float
    deviations: Deviations
    calibrations: tuple[Calibration, ...]

    @classmethod
    def from_seed(
        cls,
        truth: Truth,
        instruments_seed: np.random.SeedSequence | int,
        receiver_seed: np.random.SeedSequence | int,
        imperfections_seed: np.random.SeedSequence | int,
    ) -> Self:
        """Draw the errors of a lab.

        Parameters
        ----------
        truth
            What is true in the lab.
        instruments_seed
            For the instruments of the source and the transmitter.
        receiver_seed
            For those of the receiver and the interferometer: they came later, and with a seed of
            their own they leave the other errors of a seed as they were.
        imperfections_seed
            For the healthy imperfections.
        """
        rng = np.random.default_rng(instruments_seed)
        receiver = np.random.default_rng(receiver_seed)
        efficiency = truth.detectors.efficiency
        certified = 1.0
        while certified >= 1.0:
            certified = efficiency * (1.0 + 0.025 * rng.standard_normal())
        arms = truth.interferometer
        deviations = Deviations.from_seed(truth.imperfections, imperfections_seed)
        sizes, known = truth.imperfections, deviations.known
        fsr, vibration = truth.transmitter.etalon_fsr_Hz, truth.piezo.vibration_m
        return cls(
            meter_response=(1.0 + 0.005 * rng.standard_normal()) / deviations.meter_gain,
            meter=PowerMeter.from_seed(sizes, known, seed_of(imperfections_seed, OF_METER)),
            tagger=Tagger.from_seed(sizes, known, seed_of(imperfections_seed, OF_TAGGER)),
            attenuator_gain=1.0 + 0.025 * rng.standard_normal(),
            delay_a_ps=rng.uniform(3000.0, 5000.0),
            delay_b_ps=rng.uniform(5500.0, 7500.0),
            etalon_peak_V=0.5 * truth.etalon.range_V + rng.uniform(-8.0, 8.0),
            narrow_offset_Hz=rng.uniform(-10e9, 10e9),
            misalignment=_by_state(
                truth.transmitter.misalignment, truth.transmitter.misalignment_spread, receiver
            ),
            outputs=(receiver.uniform(0.93, 1.0), receiver.uniform(0.93, 1.0)),
            phase_rad=receiver.uniform(0.0, 2.0 * np.pi),
            deviations=deviations,
            calibrations=(
                Calibration("detector_efficiency", certified, 0.025 * certified, "1"),
                Calibration(
                    "power_meter_gain", deviations.meter_gain, 0.005 * deviations.meter_gain, "1"
                ),
                Calibration(
                    "etalon_fsr", fsr * (1.0 + 0.002 * rng.standard_normal()), 0.002 * fsr, "Hz"
                ),
                Calibration(
                    "cavity_vibration",
                    vibration * (1.0 + 0.2 * rng.uniform(-1.0, 1.0)),
                    0.2 / math.sqrt(3.0) * vibration,
                    "m",
                ),
                Calibration(
                    "laser_path_attenuation",
                    truth.laser_path_dB + 0.05 * receiver.standard_normal(),
                    0.05,
                    "dB",
                ),
                *(
                    Calibration(name, value + u * receiver.standard_normal(), u, unit)
                    for name, value, u, unit in (
                        ("interferometer_reflectance", arms.reflectance, 0.002, "1"),
                        ("interferometer_overlap", arms.overlap, 0.001, "1"),
                        ("interferometer_fringe", arms.fringe_V, 0.005 * arms.fringe_V, "V"),
                        ("purcell_expected", truth.source.purcell, 2.0, "1"),
                    )
                ),
                *_of_imperfections(truth, deviations),
            ),
        )


_UNITS = {"detector_linearity": "s", "power_meter_zero": "W"}


def _of_imperfections(truth: Truth, deviations: Deviations) -> tuple[Calibration, ...]:
    """Certificates that say how large the imperfections are; a lab without has no losses."""
    sizes, errors, known = truth.imperfections, deviations.certified, deviations.known
    _, second, orthogonal = truth.reflectances
    certified = {
        "interferometer_reflectance_2": second,
        "interferometer_reflectance_orthogonal": orthogonal,
        "response_width": truth.response_width,
        "etalon_mode": truth.etalon_mode,
    }
    losses = {name: loss if sizes.path_loss > 0.0 else 0.0 for name, loss in LOSS_dB.items()}
    return (
        Calibration("path_before", losses["before"], LOSS_U_dB, "dB"),
        Calibration("path_after", losses["after"], LOSS_U_dB, "dB"),
        Calibration("light_path_repeatability", REPEATABILITY_dB, 0.0, "dB"),
        Calibration("detector_polarisation", POLARISATION, 0.0, "1"),
        Calibration("plate_retardance", 0.0, PLATES_U_RAD, "rad"),
        Calibration("detector_efficiency_rate", CERTIFIED_RATE_Hz, 0.0, "Hz"),
        *(Calibration(n, true + errors[n], CERTIFIED[n][1], "1") for n, true in certified.items()),
        Calibration("power_meter_gain_power", GAIN_POWER_W, 0.0, "W"),
        *(Calibration(n, known[n], u, _UNITS.get(n, "1")) for n, (_, u) in KNOWN.items()),
        Calibration("power_tap", TAP, 0.0, "1"),
    )


def _by_state(mean: float, spread: float, rng: np.random.Generator) -> dict[str, float]:
    """Spread a probability over the six states about its mean, which is kept exactly."""
    deviation = np.clip(rng.standard_normal(len(AXES)), -2.5, 2.5)
    deviation -= deviation.mean()
    return {name: float(mean * (1.0 + spread * d)) for name, d in zip(AXES, deviation, strict=True)}
