"""The detuning correction of a measurement, from the re-locks of a session.

A measurement that is corrected to the cavity's resonance needs the quantities and certificates
that are listed here.
"""

from __future__ import annotations

import numpy as np

from qdchar.analysis.detuning import DetuningCorrection, FilteredLine

from ..run_inputs import RunInputs
from ..session import Session

NEEDS = ("cavity_metres_per_volt", "cavity_count_fwhm")
CERTIFICATES = ("purcell_expected", "cavity_vibration")
LINE = ("linewidth_lorentz", "linewidth_gauss", "etalon_fwhm", "etalon_fsr")
"""Further quantities that a measurement behind the etalon needs."""


def detuning_correction(
    s: Session, since: int, recorded: tuple[str, float], *, behind_etalon: bool = False
) -> DetuningCorrection:
    """Return the correction to resonance from the re-locks that bracket a measurement.

    Parameters
    ----------
    since
        Number of the first re-lock that counts, see `Session.lock_count`.
    recorded
        What was recorded meanwhile, in words, and for how long [s].
    behind_etalon
        Whether the light passed the etalon.
    """
    locks = s.locks[since:]
    correction = DetuningCorrection.from_locks(
        u_voltage_V=np.array([lock.u_voltage_V for lock in locks]),
        offset_V=np.array([lock.offset_V for lock in locks]),
        u_offset_V=np.array([lock.u_offset_V for lock in locks]),
        metres_per_volt=s.known("cavity_metres_per_volt"),
        purcell_factor=s.certificate("purcell_expected"),
        count_fwhm=s.known("cavity_count_fwhm"),
        vibration=s.certificate("cavity_vibration"),
        recorded=recorded,
        line=FilteredLine(*(s.known(name) for name in LINE)) if behind_etalon else None,
    )
    s.light.add_correction("lifetime", correction.lifetime)
    s.note_input(correction.detuning_square)
    return correction


def correction_again(
    k: RunInputs, recorded: tuple[str, float], *, behind_etalon: bool = False
) -> DetuningCorrection | None:
    """Return the correction that a run made, from what it kept of its re-locks.

    Parameters
    ----------
    recorded, behind_etalon
        As for `detuning_correction`.

    Returns
    -------
    DetuningCorrection or None
        None if the run did not keep it, or made none for this file.
    """
    detuning_square = k.input("cavity_detuning_square")
    if detuning_square is None:
        return None
    return DetuningCorrection(
        detuning_square=detuning_square,
        purcell_factor=k.certificate("purcell_expected"),
        count_fwhm=k.known("cavity_count_fwhm"),
        vibration=k.certificate("cavity_vibration"),
        recorded=recorded,
        line=FilteredLine(*(k.known(name) for name in LINE)) if behind_etalon else None,
    )
