"""What a cavity that is not quite on resonance does to the lifetime."""

from __future__ import annotations

from qdchar.estimate import Contribution, Estimate, propagate


def lifetime_excess(
    purcell_factor: Estimate, count_fwhm: Estimate, vibration: Estimate, residual_m: float
) -> Estimate:
    """Relative excess of the measured lifetime over that on resonance.

    Parameters
    ----------
    purcell_factor
        On resonance.
    count_fwhm
        FWHM of the count rate in mirror displacement [m].
    vibration
        Root mean square of the mirror's vibration [m].
    residual_m
        Distance from the resonance at which the cavity was held, with its own error [m rms].

    Returns
    -------
    Estimate
        ``lifetime_excess``, e.g. 0.006. The part from the residual detuning is known to no better
        than its own size.

    Notes
    -----
    ``T1 = T_b/(1 + F0/(1 + x^2))``, so ``T1/T1(0) = 1 + x^2 F0/(1 + F0)`` near resonance, with
    ``x = 2 z/w_c``. The count rate is wider than the mode, ``w = w_c sqrt(1 + F0)``; in its terms
    the excess is ``F0 (2 z/w)^2``, averaged over ``z^2 = vibration^2 + residual^2``.
    """
    per_square = purcell_factor.value * (2.0 / count_fwhm.value) ** 2
    shaken = per_square * vibration.value**2
    off = per_square * residual_m**2
    value = shaken + off
    return Estimate(
        name="lifetime_excess",
        value=value,
        unit="1",
        definition="relative excess of the lifetime over that on resonance",
        method="F0 (2 z/w)^2 with the vibration and the residual detuning of the closed loop",
        budget=(
            *propagate(
                [
                    (purcell_factor, value / purcell_factor.value),
                    (count_fwhm, -2.0 * value / count_fwhm.value),
                    (vibration, 2.0 * per_square * vibration.value),
                ]
            ),
            Contribution("cavity held off resonance", off, "B"),
        ),
    )
