"""What a cavity that is not quite on resonance does to lifetime, line, throughput and g2(0).

The Purcell effect is strongest on resonance. Vibration and what the closed loop leaves of detuning
make the measured lifetime longer, hence the line narrower, hence the etalon more transparent. g2(0)
falls: the slower dot is excited less often twice, and leaked laser is outshone behind the etalon.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, propagate

from ._intervals import K_95, Interval
from ._lineshapes import airy_voigt

Array = NDArray[np.float64]


def residual_square(u_left_V: Array, found_V: Array, metres_per_volt: float) -> float:
    """Mean square of the cavity's distance from resonance between visits of the loop [m^2].

    Parameters
    ----------
    u_left_V
        Standard uncertainty of the peak's place, where each visit left the piezo, shape (n,),
        n >= 2 [V].
    found_V
        Distance of the peak from where the piezo stood, as each visit first measured it, shape
        (n,) [V].
    metres_per_volt
        Of the piezo.

    Notes
    -----
    Between two visits the distance is taken to go evenly from a to b. One sees ``b + e``, with the
    error e of the first look; a has the loop's own variance u^2, and so has the part of b that
    it leaves: the mean of ``(a^2 + a b + b^2)/3`` is that of ``(2 u^2 + (b + e)^2)/3``, but for
    the variance of e, a third of which makes the result too large.
    """
    if len(found_V) < 2:
        raise ValueError("what a loop leaves shows at its next visit: two visits are needed")
    return metres_per_volt**2 * float(np.mean(2.0 * u_left_V[:-1] ** 2 + found_V[1:] ** 2)) / 3.0


def lifetime_excess(
    purcell_factor: Estimate,
    count_fwhm: Estimate,
    vibration: Estimate,
    residual_m2: float,
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
    residual_m2
        Mean square of the distance from the resonance at which the cavity was held, see
        `residual_square` [m^2].

    Returns
    -------
    Estimate
        ``lifetime_excess``, e.g. 0.006, with intervals. The part from the residual detuning is
        known to no better than its own size: how the cavity moved between visits is not.

    Notes
    -----
    ``T1 = T_b/(1 + F0/(1 + x^2))``, so ``T1/T1(0) = 1 + x^2 F0/(1 + F0)`` near resonance, with
    ``x = 2 z/w_c``. The count rate is wider than the mode, ``w = w_c sqrt(1 + F0)``; in its terms
    the excess is ``F0 (2 z/w)^2``, averaged over ``z^2 = vibration^2 + residual^2``.

    The three inputs, each of them known to a tenth or two, enter as powers. In a normal interval
    about a product drawn low the true one would be too rarely, so the intervals' ends are
    ``value exp(-k s)`` and ``value exp(k s)``, with the product's relative uncertainty s; the
    residual's part joins in quadrature.
    """
    per_square = purcell_factor.value * (2.0 / count_fwhm.value) ** 2
    shaken = per_square * vibration.value**2
    off = per_square * residual_m2
    value = shaken + off
    of_product = propagate(
        [
            (purcell_factor, value / purcell_factor.value),
            (count_fwhm, -2.0 * value / count_fwhm.value),
            (vibration, 2.0 * per_square * vibration.value),
        ]
    )
    relative = math.sqrt(sum(c.u**2 for c in of_product)) / value

    def interval(k: float) -> Interval:
        low, high = (value * math.expm1(sign * k * relative) for sign in (-1.0, 1.0))
        return value - math.hypot(low, k * off), value + math.hypot(high, k * off)

    return Estimate(
        name="lifetime_excess",
        value=value,
        unit="1",
        definition="relative excess of the lifetime over that on resonance",
        method="F0 (2 z/w)^2 with the vibration and the residual detuning of the closed loop",
        budget=(*of_product, Contribution("cavity held off resonance", off, "B")),
        interval_68=interval(1.0),
        interval_95=interval(K_95),
    )


def transmission_excess(
    lifetime: Estimate, lorentz: Estimate, gauss: Estimate, etalon: Estimate, fsr: Estimate
) -> Estimate:
    """Relative excess of the etalon's peak transmission over that for the line on resonance.

    Parameters
    ----------
    lifetime
        Relative excess of the lifetime, see `lifetime_excess`.
    lorentz, gauss
        Parts of the emission line as it was measured, FWHM [Hz].
    etalon, fsr
        Width and free spectral range of the etalon [Hz].

    Notes
    -----
    The Lorentzian part goes as 1/T1: on resonance it is wider by the excess of the lifetime.
    """

    def peak(widened: float) -> float:
        k, f_l, f_g = (w.value / fsr.value for w in (etalon, lorentz, gauss))
        return float(airy_voigt(0.0, k, f_l * widened, f_g))

    value = peak(1.0) / peak(1.0 + lifetime.value) - 1.0
    slope = value / lifetime.value if lifetime.value else -math.log(peak(1.01) / peak(1.0)) / 0.01
    return Estimate(
        name="transmission_excess",
        value=value,
        unit="1",
        definition="relative excess of the etalon's transmission over that on resonance",
        method="Airy with Voigt line, Lorentzian part as 1/T1",
        budget=propagate([(lifetime, slope)]),
    )


def g2_deficit(lifetime: Estimate, transmission: Estimate | None = None) -> Estimate:
    """Relative deficit of the measured g2(0) against that on resonance.

    Parameters
    ----------
    lifetime
        Relative excess of the lifetime, see `lifetime_excess`.
    transmission
        Relative excess of the etalon's transmission, see `transmission_excess`; none in the fibre.

    Notes
    -----
    g2(0) is made of re-excitation within a pulse, which goes as 1/T1, and of leaked laser, whose
    share goes as the inverse of the dot's transmission. What part either has is not known here:
    the deficit is between the two excesses, and a rectangular distribution over all between them.
    """
    diluted = 0.0 if transmission is None else transmission.value
    inputs = [(lifetime, 0.5)] if transmission is None else [(lifetime, 0.5), (transmission, 0.5)]
    half = 0.5 * abs(lifetime.value - diluted)
    return Estimate(
        name="g2_deficit",
        value=0.5 * (lifetime.value + diluted),
        unit="1",
        definition="relative deficit of g2(0) against that on resonance",
        method="between that of re-excitation, as 1/T1, and that of leaked laser",
        budget=(
            *propagate(inputs),
            Contribution("re-excitation or leaked laser", half / math.sqrt(3.0), "B"),
        ),
    )


def on_resonance(measured: Estimate, excess: Estimate) -> Estimate:
    """Take a relative excess off an estimate, with its uncertainty and the intervals of both."""
    factor = 1.0 + excess.value
    value = measured.value / factor

    def interval(k: float, own: Interval | None, ends: Interval | None) -> Interval | None:
        if own is None and ends is None:
            return None
        low, high = own or (measured.value - k * measured.u, measured.value + k * measured.u)
        least, most = ends or (excess.value - k * excess.u, excess.value + k * excess.u)
        return (
            value
            - math.hypot((measured.value - low) / factor, value - measured.value / (1.0 + most)),
            value
            + math.hypot((high - measured.value) / factor, measured.value / (1.0 + least) - value),
        )

    return replace(
        measured,
        value=value,
        method=f"{measured.method}; {100.0 * excess.value:.2g} % taken off ({excess.definition})",
        budget=propagate([(measured, 1.0 / factor), (excess, -value / factor)]),
        interval_68=interval(1.0, measured.interval_68, excess.interval_68),
        interval_95=interval(K_95, measured.interval_95, excess.interval_95),
    )
