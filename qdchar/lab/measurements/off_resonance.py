"""What the cavity's residual detuning adds, from the re-locks of a session.

A measurement that is corrected to the cavity's resonance needs the quantities and certificates
that are listed here.
"""

from __future__ import annotations

import numpy as np

from qdchar import analysis
from qdchar.estimate import Estimate

from ..session import Session

NEEDS = ("cavity_metres_per_volt", "cavity_count_fwhm")
CERTIFICATES = ("purcell_expected", "cavity_vibration")
ETALON = ("linewidth_lorentz", "linewidth_gauss", "etalon_fwhm", "etalon_fsr")
"""Further quantities that the correction of a transmission through the etalon needs."""


def lifetime_correction(s: Session, since: int) -> Estimate:
    """Return the relative excess of the lifetime from vibration and drift between re-locks.

    Parameters
    ----------
    since
        Number of the first re-lock that counts, see `Session.lock_count`.
    """
    locks = s.locks[since:]
    residual = analysis.detuning.residual_square(
        np.array([lock.u_voltage_V for lock in locks]),
        np.array([lock.offset_V for lock in locks]),
        np.array([lock.u_offset_V for lock in locks]),
        s.known("cavity_metres_per_volt"),
    )
    return analysis.detuning.lifetime_excess(
        s.certificate("purcell_expected"),
        s.known("cavity_count_fwhm"),
        s.certificate("cavity_vibration"),
        residual,
    )


def transmission_correction(s: Session, lifetime: Estimate) -> Estimate:
    """Return the relative excess of the etalon's transmission from the narrower detuned line."""
    return analysis.detuning.transmission_excess(lifetime, *(s.known(name) for name in ETALON))
