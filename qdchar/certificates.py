"""Certificates of the station file: what each means, and what is assumed where one is missing.

Each has one meaning, sign and unit, which stands in its definition. A lab without a certificate
that has no default is told so before anything moves: nothing honest could be assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .quantity import Quantity

CERTIFICATES = (
    Quantity(
        "power_meter_gain",
        "1",
        "G_P",
        "power meter gain",
        "true power over the reading of the pump power monitor",
    ),
    Quantity(
        "power_meter_gain_power",
        "W",
        "P_G",
        "power of the power meter's certificate",
        "power at which `power_meter_gain` was found",
        low=0.0,
    ),
    Quantity(
        "power_meter_linearity",
        "1",
        "k_P",
        "linearity of the power meter",
        "relative change of `power_meter_gain` per factor of ten in power",
    ),
    Quantity(
        "power_meter_zero",
        "W",
        "P_0",
        "zero of the power meter",
        "what is left of a reading without light, after the one with the shutter closed is "
        "subtracted",
    ),
    Quantity(
        "power_tap",
        "1",
        "s_P",
        "stability of the power monitor's tap",
        "relative standard deviation of the power at the dot over that at the monitor within a run",
        low=0.0,
    ),
    Quantity(
        "laser_path_attenuation",
        "dB",
        "A_L",
        "attenuation of the laser path",
        "attenuation from the power monitor to the detectors on the path `laser`",
    ),
    Quantity(
        "cavity_vibration",
        "m",
        "z_rms",
        "cavity vibration",
        "root mean square vibration of the cavity mirror",
    ),
    Quantity(
        "cavity_tuning",
        "Hz/m",
        "dν/dz",
        "cavity tuning",
        "change of the cavity's resonance frequency per mirror displacement",
    ),
    Quantity(
        "purcell_expected",
        "1",
        "F_P,0",
        "expected Purcell factor",
        "Purcell factor on resonance, as known beforehand",
    ),
    Quantity(
        "interferometer_reflectance",
        "1",
        "R_i",
        "reflectance of the interferometer's first splitter",
        "share of the power that the unbalanced interferometer's first splitter reflects, "
        "into the long arm",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "interferometer_reflectance_2",
        "1",
        "R_i2",
        "reflectance of the interferometer's second splitter",
        "share of the power that the second splitter reflects, from the long arm to detector A, "
        "with the polarisation of parallel arms",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "interferometer_reflectance_orthogonal",
        "1",
        "R_i2,o",
        "second splitter's reflectance, orthogonal polarisation",
        "share of the power that the second splitter reflects of the long arm's light when its "
        "polarisation is turned for orthogonal arms",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "interferometer_overlap",
        "1",
        "1 - ε",
        "overlap in the interferometer",
        "classical fringe visibility of the interferometer: overlap of its two modes",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "interferometer_fringe",
        "V",
        "V_2π",
        "voltage of one fringe",
        "phase piezo voltage that moves the interferometer by one fringe",
    ),
    Quantity(
        "plate_retardance",
        "rad",
        "δ_λ/2",
        "retardance of the analyser's wave plates",
        "retardance of the analyser's quarter- and half-wave plate less the nominal one, "
        "independent of each other",
    ),
    Quantity(
        "etalon_mode",
        "1",
        "κ_n/κ",
        "etalon width for the narrow laser over that for the source",
        "full width at half maximum of the etalon for the narrow laser's mode, "
        "over that for the source's mode",
        low=0.0,
    ),
    Quantity(
        "response_width",
        "1",
        "w_em/w_L",
        "width of the response to the emission",
        "width of the detectors' response to the emission over that to the laser, "
        "at the same click rate",
        low=0.0,
    ),
    Quantity(
        "path_before",
        "dB",
        "L_before",
        "loss of the path before the transmitter",
        "loss from the source's fibre to the detectors, light path at `before`",
    ),
    Quantity(
        "path_after",
        "dB",
        "L_after",
        "loss of the path after the transmitter",
        "loss from the transmitter's output to the detectors, light path at `after`",
    ),
    Quantity(
        "tagger_clock",
        "1",
        "c_T",
        "clock error of the time tagger",
        "true time over the time that the time tagger counts, less one",
    ),
    Quantity(
        "light_path_repeatability",
        "dB",
        "s_L",
        "repeatability of the light path",
        "standard deviation of a position's loss from one switching to the next",
        low=0.0,
    ),
    Quantity(
        "detector_polarisation",
        "1",
        "P_D",
        "polarisation dependence of the detectors",
        "highest less lowest efficiency of a detector over all polarisations, over their mean",
        low=0.0,
        high=2.0,
    ),
    Quantity(
        "detector_linearity",
        "s",
        "k_D",
        "linearity of the detectors",
        "relative change of a detector's efficiency per click rate; below zero: it falls",
    ),
    Quantity(
        "detector_efficiency_rate",
        "Hz",
        "R_D",
        "rate of the detectors' certificate",
        "click rate of each detector at which `detector_efficiency` was found",
        low=0.0,
    ),
)
"""Quantities that a station file gives under ``[calibrations]``."""


@dataclass(frozen=True)
class Assumed:
    """What is assumed where the station file has no certificate.

    Attributes
    ----------
    value, u
        In the unit of the quantity; `u` is of type B.
    why
        Where the size comes from.
    """

    value: float
    u: float
    why: str


ASSUMED: Mapping[str, Assumed] = {
    "power_meter_gain_power": Assumed(
        1e-5, 0.0, "power meters are certified at microwatts to milliwatts"
    ),
    "power_meter_linearity": Assumed(
        0.0, 0.001, "0.5 % over the range of a photodiode sensor by data sheets, five decades"
    ),
    "power_meter_zero": Assumed(
        0.0, 2e-12, "a tenth of the zero of 20 pW that a picowatt sensor has"
    ),
    "power_tap": Assumed(
        0.005, 0.0, "fibre couplers change by 0.5 % with temperature and polarisation"
    ),
    "tagger_clock": Assumed(0.0, 5e-6, "crystal oscillators are specified within 10 ppm"),
    "light_path_repeatability": Assumed(
        0.02, 0.0, "fibre switches repeat within 0.01 to 0.05 dB by their data sheets"
    ),
    "plate_retardance": Assumed(
        0.0, 0.021, "wave plates are within 1/300 of a wave by their data sheets"
    ),
    "etalon_mode": Assumed(
        1.0, 0.015, "beams that are aligned alike see etalon widths within 1 to 2 %"
    ),
    "response_width": Assumed(
        1.0, 0.01, "the jitter of nanowires changes by 1 % from wavelength to wavelength"
    ),
    "interferometer_reflectance_2": Assumed(
        0.5, 0.017, "splitters that are sold as 50:50 reflect 47 to 53 %"
    ),
    "interferometer_reflectance_orthogonal": Assumed(
        0.5, 0.029, "splitters that are sold as 50:50 reflect 45 to 55 % of any polarisation"
    ),
    "detector_linearity": Assumed(
        0.0, 5e-10, "superconducting detectors lose 0.1 % per Mcps (arXiv 2407.20682), or less"
    ),
}
"""By name of the certificate."""
