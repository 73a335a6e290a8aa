"""Zero of a power meter that is off, as a nuisance of scans over power."""

from __future__ import annotations

from qdchar.estimate import Contribution, Uncertain

U_OF_TOP = 0.02
"""Standard uncertainty of the zero over the highest power of the scan: a wide prior."""


def zero_prior(top_W: float) -> Uncertain:
    """Return what is known of the zero before the fit [W].

    Parameters
    ----------
    top_W
        Highest power of the scan [W].
    """
    return Uncertain(0.0, (Contribution("zero of the power meter", U_OF_TOP * top_W, "B"),))
