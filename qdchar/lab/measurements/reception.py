"""What lies between source or transmitter and clicks, as the station's certificates say."""

from __future__ import annotations

from qdchar.analysis.detection.reception import Reception, efficiency_from_plane
from qdchar.estimate import Estimate

from ..session import Session

CERTIFICATES = ("detector_efficiency", "detector_efficiency_rate", "detector_polarisation")
"""Needed wherever photons are counted; the loss of the path comes to them."""
ASSUMED = ("detector_linearity", "light_path_repeatability")


def reception(s: Session, path: str) -> Reception:
    """Return it for a position of the light path, ``before`` or ``after``."""
    return Reception(
        path=path,
        loss=s.certificate(f"path_{path}"),
        repeatability=s.certificate("light_path_repeatability"),
        polarisation=s.certificate("detector_polarisation"),
        linearity=linearity(s),
        certified_rate=s.certificate("detector_efficiency_rate"),
    )


def linearity(s: Session) -> Estimate:
    """Return how the detectors' efficiency changes with their click rate, measured if it was."""
    measured = s.maybe("detector_linearity_measured")
    return s.certificate("detector_linearity") if measured is None else measured


def efficiency_from_fibre(s: Session, label: str) -> Estimate:
    """Return the detectors' efficiency from the fibre, at the rate of their certificate.

    For weak light, where the change of the efficiency with the rate does not matter.
    """
    rate_Hz = s.certificate("detector_efficiency_rate").value
    certified, before = s.certificate("detector_efficiency"), reception(s, "before")
    return efficiency_from_plane(certified, before, (rate_Hz, rate_Hz), label)
