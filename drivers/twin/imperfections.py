"""Healthy imperfections of the simulated lab: how large they are, and what a seed draws of them.

None is a fault: a good real lab has them all. Each is drawn from what the station's certificates
say, so that budgets must be complete for intervals to hold. ``--set imperfections.NAME=X`` makes
one X times as large as its certificate says, 0 turns it off; ``--ideal`` turns all off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np

LOSS_dB: Mapping[str, float] = {"before": 0.40, "after": 0.55, "receiver": 0.60}
"""Loss of positions of the light path, as certified [dB]."""
LOSS_U_dB = 0.05
REPEATABILITY_dB = 0.01
POLARISATION = 0.05
LINEARITY_s = 3e-10
CERTIFIED_RATE_Hz = 1e5
SECOND_SPLITTER, ORTHOGONAL_SPLITTER = 0.01, 0.02
"""Reflectance of the interferometer's second splitter less the first one's; more of it, where the
light has the orthogonal polarisation."""
RESPONSE_WIDTH = 1.01
"""Width of the detectors' response to the emission over that to the laser."""
ETALON_MODE = 0.985
"""Width of the etalon for the narrow laser's mode over that for the source's."""
PLATES_U_RAD = 0.02
CERTIFIED: Mapping[str, tuple[str, float]] = {
    "interferometer_reflectance_2": ("splitters", 0.002),
    "interferometer_reflectance_orthogonal": ("splitters", 0.002),
    "response_width": ("response_width", 0.003),
    "etalon_mode": ("etalon_mode", 0.01),
}
"""By certificate of what is not drawn: whose imperfection it is, and its u. New ones go to the end,
so that a seed keeps its other errors."""
OF_CERTIFICATES, OF_PLATES, OF_JUMPS, OF_METER, OF_TAGGER, OF_VALUES = range(1, 7)
"""Key of the seed of each group that is drawn by itself: with one key for two groups, errors that
are independent would be the same numbers."""
METER_LINEARITY, METER_ZERO_LEFT_W, CLOCK = 1e-3, 2e-12, 1e-6
KNOWN: Mapping[str, tuple[str, float]] = {
    "detector_linearity": ("detector_linearity", LINEARITY_s),
    "power_meter_linearity": ("meter_linearity", METER_LINEARITY),
    "power_meter_zero": ("meter_zero", METER_ZERO_LEFT_W),
    "tagger_clock": ("tagger_clock", CLOCK),
}
"""By certificate of an instrument's own deviation, of which it says the value: whose imperfection
it is, and its u. The values are within three u of 0, so that a sign taken wrongly shows."""
AFTERPULSING = 5e-5
CROSS_TALK = 2e-5
_TURN_RAD_PER_H = 0.3


@dataclass(frozen=True)
class Imperfections:
    """How large each is, as a multiple of what the station's certificates say.

    Attributes
    ----------
    path_loss
        Each position of the light path has its loss, known to 0.05 dB (connectors: 0.2 dB, ports
        of switches: up to 1 dB). Certificates ``path_before``, ``path_after``.
    switching
        Each switching changes the loss by 0.01 dB (switches' data sheets: 0.01 to 0.05 dB).
        Certificate ``light_path_repeatability``.
    detector_polarisation
        The detectors' efficiency depends on polarisation by 5 % (superconducting nanowires: 5 to
        30 % by wavelength, 2 % for fractal ones, arXiv 0901.4922), which each position of the light
        path turns in its own way, slowly drifting. Certificate ``detector_polarisation``.
    detector_linearity
        The efficiency changes with the click rate, by 0.03 % per Mcps (arXiv 2407.20682: -0.1 %).
        Certificate ``detector_linearity``.
    splitters
        The interferometer's second splitter reflects 0.01 more than the first one, and 0.02 more
        of the orthogonal polarisation (50:50 splitters: 47 to 53 %); each is known to 0.002.
        Certificates ``interferometer_reflectance_2``, ``interferometer_reflectance_orthogonal``.
    meter_zero
        The power meter reads 20 pW without light (a picowatt sensor's zero without adjustment);
        with the shutter open it is another by 2 pW. Certificate ``power_meter_zero``.
    meter_linearity
        The power meter's gain changes by 0.1 % per factor of ten in power (data sheets of
        photodiode sensors: 0.5 % over their range). Certificate ``power_meter_linearity``.
    power_tap
        The power at the dot over that at the monitor wanders by 0.5 % rms within a quarter of an
        hour (fibre couplers, with temperature and polarisation). Certificate ``power_tap``.
    response_width
        The detectors' response to the emission is 1.01 times as wide as to the laser, known to
        0.003 (nanowires: jitter depends on wavelength and rate). Certificate ``response_width``.
    etalon_mode
        The etalon is 0.985 times as wide for the narrow laser's mode as for the source's, known to
        0.01 (beams aligned alike: 1 to 2 %). Certificate ``etalon_mode``.
    tagger_clock
        The time tagger's clock is off by 1e-6 (crystal oscillators: up to 1e-5). Certificate
        ``tagger_clock``.
    tagger_bins
        The widths of the time tagger's bins differ by 5 % (differential nonlinearity of delay
        lines). No certificate: pulses fall on all bins alike.
    plate_retardance
        The analyser's wave plates have another retardance, within 0.02 rad (1/300 of a wave).
        Certificate ``plate_retardance``.
    spectral_jumps
        The line jumps by 0.03 of its wandering, 16 MHz, every 3 s, and again every 30 ms (charges
        that are trapped near a dot; without a gate 0.1 to 0.5 GHz every few seconds, which the
        etalon's scan reports as a problem). No certificate: the alternations of the transmitter
        measurement scatter by it.
    afterpulsing
        A click is followed by an afterpulse with a probability of 5e-5 (nanowires: below 1e-4). No
        certificate: found in the tags. In tags alone: counts change by less than they scatter.
    cross_talk
        A click makes the other channel click 0.5 ns later with a probability of 2e-5 (nanowires
        with cables and amplifiers side by side). No certificate: found in the tags.
    """

    path_loss: float = 1.0
    switching: float = 1.0
    detector_polarisation: float = 1.0
    detector_linearity: float = 1.0
    splitters: float = 1.0
    meter_zero: float = 1.0
    meter_linearity: float = 1.0
    power_tap: float = 1.0
    response_width: float = 1.0
    etalon_mode: float = 1.0
    tagger_clock: float = 1.0
    tagger_bins: float = 1.0
    plate_retardance: float = 1.0
    spectral_jumps: float = 1.0
    afterpulsing: float = 1.0
    cross_talk: float = 1.0

    @classmethod
    def none(cls) -> Self:
        """Return a lab without any."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), 0.0))


NAMES = tuple(f.name for f in fields(Imperfections))


def ideal_settings(given: Sequence[str]) -> tuple[str, ...]:
    """Return the ``KEY=VALUE`` settings that turn all off but those that are given."""
    keys = {text.partition("=")[0].strip() for text in given}
    off = (f"imperfections.{name}" for name in NAMES)
    return tuple(f"{key}=0" for key in off if key not in keys)


@dataclass(frozen=True)
class Deviations:
    """What one lab has of them.

    Attributes
    ----------
    loss_dB
        By position of the light path; none where it is not named.
    polarisation
        By position, for A and B: phase of the turning polarisation [rad]. The efficiency is
        ``1 + dependence/2 cos(phase)`` of the mean.
    dependence
        Highest less lowest efficiency over polarisations, over the mean.
    linearity_s
        Relative change of the efficiency of A and B per click rate.
    plates_rad
        Retardance of the analyser's quarter- and half-wave plate, less the nominal one [rad].
    certified
        Errors of certificates whose true value is the truth's, by their names.
    known
        Values of certificates of an instrument's own deviation, by their names; the true ones
        differ from them by the certificates' u.
    meter_gain
        Value of the power meter's certificate.
    jumps_seed
        Of the places of the dot's line.
    """

    loss_dB: Mapping[str, float]
    polarisation: Mapping[str, tuple[float, float]]
    dependence: float
    linearity_s: float
    switching_dB: float
    plates_rad: tuple[float, float]
    certified: Mapping[str, float]
    known: Mapping[str, float]
    meter_gain: float
    jumps_seed: np.random.SeedSequence = field(compare=False)  # compares by identity

    @classmethod
    def from_seed(cls, sizes: Imperfections, seed: np.random.SeedSequence | int) -> Self:
        """Draw those of a lab."""
        rng = np.random.default_rng(seed)
        loss_dB = {
            name: loss + sizes.path_loss * LOSS_U_dB * float(np.clip(rng.standard_normal(), -3, 3))
            for name, loss in LOSS_dB.items()
        }
        turned = {
            name: (math.acos(rng.uniform(-1.0, 1.0)), math.acos(rng.uniform(-1.0, 1.0)))
            for name in ("before", "after", "laser", "narrow")
        }
        of_plates = np.random.default_rng(seed_of(seed, OF_PLATES))
        plates_rad = sizes.plate_retardance * PLATES_U_RAD * of_plates.standard_normal(2)
        of_certificates = np.random.default_rng(seed_of(seed, OF_CERTIFICATES))
        errors = map(float, of_certificates.standard_normal(len(CERTIFIED)))
        of_values = np.random.default_rng(seed_of(seed, OF_VALUES))
        known = {
            name: 3.0 * u * float(of_values.uniform(-1.0, 1.0)) if getattr(sizes, of) > 0.0 else 0.0
            for name, (of, u) in KNOWN.items()
        }
        own_s = sizes.detector_linearity * LINEARITY_s * float(rng.standard_normal())
        return cls(
            loss_dB=loss_dB if sizes.path_loss > 0.0 else {},
            polarisation=turned,
            dependence=sizes.detector_polarisation * POLARISATION,
            linearity_s=known["detector_linearity"] + own_s,
            switching_dB=sizes.switching * REPEATABILITY_dB,
            plates_rad=(float(plates_rad[0]), float(plates_rad[1])),
            certified={
                name: getattr(sizes, of) * u * error
                for (name, (of, u)), error in zip(CERTIFIED.items(), errors, strict=True)
            },
            known=known,
            meter_gain=float(of_values.uniform(0.9, 1.1)),
            jumps_seed=seed_of(seed, OF_JUMPS),
        )

    def transmission(self, path: str, switched_dB: float) -> float:
        """Transmission of a position of the light path, `switched_dB` more than on average."""
        return float(10.0 ** (-0.1 * (self.loss_dB.get(path, 0.0) + switched_dB)))

    def at_polarisation(self, path: str, time_s: float) -> tuple[float, float]:
        """Efficiencies of A and B over their means over all polarisations."""
        if path not in self.polarisation:
            return 1.0, 1.0
        turn = _TURN_RAD_PER_H * time_s / 3600.0
        a, b = (1.0 + 0.5 * self.dependence * math.cos(p + turn) for p in self.polarisation[path])
        return a, b


def seed_of(seed: np.random.SeedSequence | int, group: int) -> np.random.SeedSequence:
    """Return the seed of one group, which leaves the random numbers of the others as they were."""
    own = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return np.random.SeedSequence(own.entropy, spawn_key=(*own.spawn_key, group))
