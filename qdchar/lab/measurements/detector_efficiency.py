"""Detector efficiency by substitution: pump laser of known power on the detectors.

Without the certificate of the laser's path only the linearity of the detectors is measured.
"""

from __future__ import annotations

import math

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.detector_efficiency import DetectorEfficiencySettings
from qdchar.raw_data import Progress
from qdchar.roles import Counts

from ..measurement import COMMAND_S, MOVE_S, POWER_METER, ZERO_S, Measurement
from ..session import Session
from .reception import ASSUMED, CERTIFICATES


def _run(s: Session, settings: DetectorEfficiencySettings, progress: Progress) -> Result:
    path_attenuation = s.optional_certificate("laser_path_attenuation")
    if path_attenuation is None:
        s.display.say("    linearity alone: [calibrations.laser_path_attenuation] is missing")
    file = s.run.raw / "detector_efficiency.csv"
    scan = protocols.detector_efficiency.measure(
        s.light_path, s.pump_attenuator, s.pump_power, s.tagger, file, settings, progress
    )
    brightest = int(scan.x.argmax())
    a, b = scan.clicks[brightest].tolist()
    s.light.add_laser(float(scan.x[brightest]), Counts((a, b), float(scan.dwell_s[brightest])))
    return analysis.detector_efficiency.analyse(
        scan,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(of_source=False),
        wavelength_m=s.station.file.wavelength_m,
        power_gain=s.certificate("power_meter_gain"),
        meter=s.meter_errors(),
        path_attenuation=path_attenuation,
        dark_count_rate=s.known("dark_count_rate"),
        linearity=s.certificate("detector_linearity"),
        certified_rate=s.certificate("detector_efficiency_rate"),
        polarisation=s.certificate("detector_polarisation"),
        repeatability=s.certificate("light_path_repeatability"),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        certificate=s.certificate("detector_efficiency"),
    )


MEASUREMENT = Measurement(
    name="detector_efficiency",
    title="detector efficiency",
    run=_run,
    settings=DetectorEfficiencySettings,
    provides=("detector_efficiency_measured", "detector_linearity_measured"),
    needs=("dark_count_rate", "dead_time"),
    roles=("light_path", "pump_attenuator", "pump_power", "tagger"),
    certificates=("power_meter_gain", *CERTIFICATES),
    optional_certificates=(*ASSUMED, *POWER_METER, "laser_path_attenuation"),
    take_over_hours=168.0,
    dwell_s=lambda settings, _: protocols.detector_efficiency.dwell_s(settings),
    # the power is set by its monitor, with about three corrections, and is then read
    moves_s=lambda settings, _: (
        ZERO_S
        + settings.points
        * (3 * (MOVE_S + protocols.pump.READINGS * COMMAND_S) + settings.readings * COMMAND_S)
    ),
)
