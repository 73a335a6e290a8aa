"""The unbalanced interferometer, as the station's certificates say."""

from __future__ import annotations

from qdchar.analysis.models.interferometer import Interferometer

from ..session import Session

CERTIFICATES = ("interferometer_reflectance", "interferometer_overlap")
ASSUMED = ("interferometer_reflectance_2", "interferometer_reflectance_orthogonal")


def interferometer(s: Session) -> Interferometer:
    """Return its splitters and overlap."""
    return Interferometer(
        first=s.certificate("interferometer_reflectance"),
        second=s.certificate("interferometer_reflectance_2"),
        orthogonal=s.certificate("interferometer_reflectance_orthogonal"),
        overlap=s.certificate("interferometer_overlap"),
    )
