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

from qdchar.estimate import Contribution, Estimate, merge, propagate

from .models.lineshapes import airy_voigt
from .statistics.intervals import K_95, Interval

Array = NDArray[np.float64]


def residual_square(
    u_left_V: Array, found_V: Array, u_found_V: Array, metres_per_volt: Estimate
) -> Estimate:
    """Mean square of the cavity's distance from resonance between visits of the loop.

    Parameters
    ----------
    u_left_V
        Standard uncertainty of the peak's place, where each visit left the piezo, shape (n,),
        n >= 2 [V].
    found_V, u_found_V
        Distance of the peak from where the piezo stood, as each visit first measured it, and the
        standard uncertainty of that look, shape (n,) [V].
    metres_per_volt
        Of the piezo.

    Returns
    -------
    Estimate
        ``cavity_residual_square`` [m^2]; of a cavity that stays where it is left it may come out
        negative by chance, as what looks err is taken off.

    Notes
    -----
    A visit leaves the cavity at a, by the loop's own error of variance s^2; a drift d brings it to
    ``a + d``, where the next visit sees ``f = a + d + e``, with an error e of variance u^2. If d
    comes evenly, the mean square on the way is ``(3 a^2 + 3 a d + d^2)/3``, which
    ``(2 s^2 + f^2 - u^2)/3`` estimates without bias. Of the difference's variance,

    ``[8 s^4 + 4 s^2 u^2 + 2 u^4 + (s + 2 u)^2 d^2]/9``,

    with f for d, which is larger; the last term holds also where one error is both the e of one
    interval and the a of the next. Creep slows down, and a drift may set in late: ways as t^p, with
    p between 1/2 and 2, have a mean square between d^2/2 and d^2/5, a rectangular distribution
    about d^2/3.
    """
    if len(found_V) < 2:
        raise ValueError("what a loop leaves shows at its next visit: two visits are needed")
    s, u, f = u_left_V[:-1], u_found_V[1:], found_V[1:]
    square_V2 = float(np.mean(2.0 * s**2 + f**2 - u**2)) / 3.0
    drift_V2 = abs(float(np.mean(f**2 - s**2 - u**2)))
    of_looks = 8.0 * s**4 + 4.0 * (s * u) ** 2 + 2.0 * u**4 + ((s + 2.0 * u) * f) ** 2
    u_looks_V2 = math.sqrt(float(np.sum(of_looks))) / (3.0 * len(f))
    u_way_V2 = 0.5 * (1.0 / 2.0 - 1.0 / 5.0) * drift_V2 / math.sqrt(3.0)
    per_square = metres_per_volt.value**2
    return Estimate(
        name="cavity_detuning_square",
        value=per_square * square_V2,
        method="from what each visit finds and leaves, drift between them even",
        budget=(
            Contribution("looks of the loop", per_square * u_looks_V2, "A"),
            Contribution("way between visits", per_square * u_way_V2, "B"),
            *propagate([(metres_per_volt, 2.0 * metres_per_volt.value * square_V2)]),
        ),
    )


def lifetime_excess(
    purcell_factor: Estimate, count_fwhm: Estimate, vibration: Estimate, residual: Estimate
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
    residual
        Mean square of the distance from the resonance at which the cavity was held, see
        `residual_square` [m^2].

    Returns
    -------
    Estimate
        ``lifetime_excess``, e.g. 0.006, with intervals.

    Notes
    -----
    ``T1 = T_b/(1 + F0/(1 + x^2))``, so ``T1/T1(0) = 1 + x^2 F0/(1 + F0)`` near resonance, with
    ``x = 2 z/w_c``. The count rate is wider than the mode, ``w = w_c sqrt(1 + F0)``; in its terms
    the excess is ``F0 (2 z/w)^2``, averaged over ``z^2 = vibration^2 + residual``.

    The first three inputs, each of them known to a tenth or two, enter as powers. In a normal
    interval about a product drawn low the true one would be too rarely, so the intervals' ends are
    ``value exp(-k s)`` and ``value exp(k s)``, with the product's relative uncertainty s; the
    residual's part joins in quadrature.
    """
    per_square = purcell_factor.value * (2.0 / count_fwhm.value) ** 2
    value = per_square * (vibration.value**2 + residual.value)
    of_product = propagate(
        [
            (purcell_factor, value / purcell_factor.value),
            (count_fwhm, -2.0 * value / count_fwhm.value),
            (vibration, 2.0 * per_square * vibration.value),
        ]
    )
    relative = math.sqrt(sum(c.u**2 for c in of_product)) / abs(value)
    of_residual = propagate([(residual, per_square)])
    u_off = math.sqrt(sum(c.u**2 for c in of_residual))

    def interval(k: float) -> Interval:
        less, more = (value * math.expm1(sign * k * relative) for sign in (-1.0, 1.0))
        return value - math.hypot(less, k * u_off), value + math.hypot(more, k * u_off)

    return Estimate(
        name="lifetime_detuning_correction",
        value=value,
        method="F0 (2 z/w)^2 with the vibration and the residual detuning of the closed loop",
        budget=merge([*of_product, *of_residual]),
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
        name="transmission_detuning_correction",
        value=value,
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
        name="g2_detuning_correction",
        value=0.5 * (lifetime.value + diluted),
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
