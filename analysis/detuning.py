"""Corrections for a cavity that is not exactly on resonance.

The Purcell effect is strongest on resonance. Vibration, and drift between re-locks of the cavity,
detune it during a measurement. The measured lifetime is then too long, the line too narrow, and the
etalon's transmission of the line too high. The measured g2(0) is too low: a slower dot is excited
twice in one pulse less often, and behind the etalon the share of leaked laser is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, merge, propagate

from .models.lineshapes import airy_voigt
from .statistics.intervals import K_95, Interval

Array = NDArray[np.float64]

_FEWEST_LOCKS = 2
"""The detuning between two re-locks is measured by the second one."""

VIBRATION_s = 1e-3
"""Correlation time of the vibration: open cavities vibrate mostly above 100 Hz [s]."""


@dataclass(frozen=True)
class FilteredLine:
    """An emission line and the etalon that it passes.

    Attributes
    ----------
    lorentz, gauss
        Lorentzian and Gaussian parts of the line as measured, FWHM [Hz].
    etalon_fwhm, etalon_fsr
        Width and free spectral range of the etalon [Hz].
    """

    lorentz: Estimate
    gauss: Estimate
    etalon_fwhm: Estimate
    etalon_fsr: Estimate


@dataclass(frozen=True, kw_only=True)
class DetuningCorrection:
    """Relative corrections to the cavity's resonance of what was measured beside it.

    Attributes
    ----------
    detuning_square
        Mean square of the distance from resonance at which the cavity was locked, see
        `detuning_square` [m^2].
    purcell_factor
        On resonance.
    count_fwhm
        FWHM of the count rate in mirror displacement [m].
    vibration
        Root mean square of the mirror's vibration [m].
    recorded
        What was recorded meanwhile, in words, and for how long [s].
    line
        Line and etalon, for a measurement behind the etalon; none in the source's fibre.
    """

    detuning_square: Estimate
    purcell_factor: Estimate
    count_fwhm: Estimate
    vibration: Estimate
    recorded: tuple[str, float]
    line: FilteredLine | None = None

    @classmethod
    def from_locks(
        cls,
        *,
        u_voltage_V: Array,
        offset_V: Array,
        u_offset_V: Array,
        metres_per_volt: Estimate,
        purcell_factor: Estimate,
        count_fwhm: Estimate,
        vibration: Estimate,
        recorded: tuple[str, float],
        line: FilteredLine | None = None,
    ) -> DetuningCorrection:
        """Take the detuning from the re-locks that bracket a measurement.

        Parameters
        ----------
        u_voltage_V, offset_V, u_offset_V, metres_per_volt
            As for `detuning_square`.
        purcell_factor, count_fwhm, vibration, recorded, line
            See the attributes of the class.

        Raises
        ------
        ValueError
            With fewer than two re-locks.
        """
        return cls(
            detuning_square=detuning_square(u_voltage_V, offset_V, u_offset_V, metres_per_volt),
            purcell_factor=purcell_factor,
            count_fwhm=count_fwhm,
            vibration=vibration,
            recorded=recorded,
            line=line,
        )

    @cached_property
    def lifetime(self) -> Estimate:
        """By how much the measured lifetime is too long, see `lifetime_correction`."""
        return lifetime_correction(
            self.purcell_factor,
            self.count_fwhm,
            self.vibration,
            self.detuning_square,
            self.recorded,
        )

    @cached_property
    def transmission(self) -> Estimate:
        """By how much the etalon's measured transmission is too high.

        Raises
        ------
        ValueError
            Without line and etalon.
        """
        if self.line is None:
            raise ValueError("the correction of a transmission needs the line and the etalon")
        return transmission_correction(self.lifetime, self.line)

    @cached_property
    def g2(self) -> Estimate:
        """By how much the measured g2(0) is too low, see `g2_correction`."""
        return g2_correction(self.lifetime, None if self.line is None else self.transmission)


def detuning_square(
    u_voltage_V: Array, offset_V: Array, u_offset_V: Array, metres_per_volt: Estimate
) -> Estimate:
    """Return the mean square of the cavity's distance from resonance between re-locks.

    Parameters
    ----------
    u_voltage_V
        Standard uncertainty of the peak's position at the end of each re-lock, shape (n,),
        n >= 2 [V].
    offset_V, u_offset_V
        Distance of the peak from the piezo's voltage at the start of each re-lock, and its
        standard uncertainty, shape (n,) [V].
    metres_per_volt
        Of the piezo.

    Returns
    -------
    Estimate
        ``cavity_detuning_square`` [m^2]. For a cavity that does not drift it can be slightly
        negative, because the measurement variance is subtracted.

    Raises
    ------
    ValueError
        With fewer than two re-locks.

    Notes
    -----
    A re-lock leaves the cavity at a distance a from resonance, an error of variance s^2. A drift d
    brings it to ``a + d``. The next re-lock measures ``f = a + d + e``, with an error e of variance
    u^2. If the drift is linear in time, the mean square over the interval is
    ``(3 a^2 + 3 a d + d^2)/3``, which ``(2 s^2 + f^2 - u^2)/3`` estimates without bias. The
    variance of the difference is

    ``[8 s^4 + 4 s^2 u^2 + 2 u^4 + (s + 2 u)^2 d^2]/9``,

    where f is used for d, which is larger. The last term also holds where one error is both the e
    of one interval and the a of the next. A drift as t^p, with p between 0 and 2, has a mean square
    between d^2 and d^2/5: creep is almost over when a short recording begins, and a drift may begin
    late. This is included as the root mean square distance of that range from d^2/3.
    """
    if len(offset_V) < _FEWEST_LOCKS:
        raise ValueError(
            f"{len(offset_V)} cavity re-lock: at least two cavity re-locks are needed to measure "
            "the detuning between them"
        )
    s, u, f = u_voltage_V[:-1], u_offset_V[1:], offset_V[1:]
    square_V2 = float(np.mean(2.0 * s**2 + f**2 - u**2)) / 3.0
    drift_V2 = abs(float(np.mean(f**2 - s**2 - u**2)))
    variances = 8.0 * s**4 + 4.0 * (s * u) ** 2 + 2.0 * u**4 + ((s + 2.0 * u) * f) ** 2
    u_readout_V2 = math.sqrt(float(np.sum(variances))) / (3.0 * len(f))
    low, linear, high = 1.0 / 5.0, 1.0 / 3.0, 1.0
    u_drift_V2 = drift_V2 * math.hypot((high - low) / math.sqrt(12.0), 0.5 * (low + high) - linear)
    per_square = metres_per_volt.value**2
    return Estimate(
        name="cavity_detuning_square",
        value=per_square * square_V2,
        method="from the offsets at the re-locks, drift between them linear",
        budget=(
            Contribution("peak-lock readout", per_square * u_readout_V2, "A"),
            Contribution("drift between re-locks", per_square * u_drift_V2, "B"),
            *propagate([(metres_per_volt, 2.0 * metres_per_volt.value * square_V2)]),
        ),
    )


def lifetime_correction(
    purcell_factor: Estimate,
    count_fwhm: Estimate,
    vibration: Estimate,
    square: Estimate,
    recorded: tuple[str, float],
) -> Estimate:
    """Return the detuning correction of the lifetime: measured over that on resonance, less 1.

    Parameters
    ----------
    purcell_factor
        On resonance.
    count_fwhm
        FWHM of the count rate in mirror displacement [m].
    vibration
        Root mean square of the mirror's vibration [m].
    square
        Mean square of the distance from resonance, see `detuning_square` [m^2].
    recorded
        What was recorded meanwhile, in words, and for how long [s].

    Returns
    -------
    Estimate
        ``lifetime_detuning_correction``, e.g. 0.006, with intervals.

    Notes
    -----
    ``T1 = T_b/(1 + F0/(1 + x^2))``, so ``T1/T1(0) = 1 + x^2 F0/(1 + F0)`` near resonance, with
    ``x = 2 z/w_c``. The count rate is wider than the mode, ``w = w_c sqrt(1 + F0)``. In terms of w
    the correction is ``F0 (2 z/w)^2``, averaged over ``z^2 = vibration^2 + square``.

    Each of the first three inputs is known to 10 % or 20 % and enters as a power. A normal interval
    about a product that is too low would include the true value too rarely. The ends of the
    intervals are therefore ``value exp(-k s)`` and ``value exp(k s)``, with the relative
    uncertainty s of the product; the part of the detuning is added in quadrature.

    A recording of length T holds about n = T/tau independent values of the vibration v, with the
    correlation time tau. The mean of ``(v + z)^2`` over them has the variance
    ``(2 <v^2>^2 + 4 <v^2> z^2)/n``.
    """
    per_square = purcell_factor.value * (2.0 / count_fwhm.value) ** 2
    value = per_square * (vibration.value**2 + square.value)
    of_product = propagate(
        [
            (purcell_factor, value / purcell_factor.value),
            (count_fwhm, -2.0 * value / count_fwhm.value),
            (vibration, 2.0 * per_square * vibration.value),
        ]
    )
    relative = math.sqrt(sum(c.u**2 for c in of_product)) / abs(value)
    what, duration_s = recorded
    squared = vibration.value**2
    sampled = math.sqrt(
        (2.0 * squared**2 + 4.0 * squared * abs(square.value)) * VIBRATION_s / duration_s
    )
    of_square = merge(
        [
            *propagate([(square, per_square)]),
            Contribution(f"vibration during {what}", per_square * sampled, "B"),
        ]
    )
    u_square = math.sqrt(sum(c.u**2 for c in of_square))

    def interval(k: float) -> Interval:
        below, above = (value * math.expm1(sign * k * relative) for sign in (-1.0, 1.0))
        return value - math.hypot(below, k * u_square), value + math.hypot(above, k * u_square)

    return Estimate(
        name="lifetime_detuning_correction",
        value=value,
        method="F0 (2 z/w)^2 with the vibration and the detuning between re-locks",
        budget=merge([*of_product, *of_square]),
        interval_68=interval(1.0),
        interval_95=interval(K_95),
    )


def transmission_correction(lifetime: Estimate, line: FilteredLine) -> Estimate:
    """Return the detuning correction of the etalon's peak transmission.

    Parameters
    ----------
    lifetime
        Correction of the lifetime, see `lifetime_correction`.
    line
        The line as measured, and the etalon.

    Returns
    -------
    Estimate
        ``transmission_detuning_correction``: measured transmission over that of the line on
        resonance, less 1.

    Notes
    -----
    The Lorentzian part is proportional to 1/T1: on resonance it is wider by the correction of the
    lifetime.
    """
    inputs = (lifetime, line.lorentz, line.gauss, line.etalon_fwhm, line.etalon_fsr)

    def excess(values: Sequence[float]) -> float:
        longer, lorentz, gauss, etalon, fsr = values
        on, off = (
            float(airy_voigt(0.0, etalon / fsr, lorentz * wider / fsr, gauss / fsr))
            for wider in (1.0 + longer, 1.0)
        )
        return off / on - 1.0

    at = [e.value for e in inputs]
    slopes = []
    for i, estimate in enumerate(inputs):
        step = 1e-3 if i == 0 else max(1e-3 * estimate.value, 1e-3 * estimate.u)
        above, below = (excess([*at[:i], at[i] + s, *at[i + 1 :]]) for s in (step, -step))
        slopes.append((above - below) / (2.0 * step))
    return Estimate(
        name="transmission_detuning_correction",
        value=excess(at),
        method="Airy with Voigt line, Lorentzian part as 1/T1",
        budget=propagate(zip(inputs, slopes, strict=True)),
    )


def g2_correction(lifetime: Estimate, transmission: Estimate | None = None) -> Estimate:
    """Return the detuning correction of g2(0): that on resonance over the measured one, less 1.

    Parameters
    ----------
    lifetime
        Correction of the lifetime, see `lifetime_correction`.
    transmission
        Correction of the etalon's transmission, see `transmission_correction`; none in the fibre.

    Returns
    -------
    Estimate
        ``g2_detuning_correction``.

    Notes
    -----
    g2(0) is the sum of re-excitation within a pulse, which is proportional to 1/T1, and of leaked
    laser, whose share is inversely proportional to the dot's transmission. Their proportion is not
    known here: the correction is in the middle between the two, with a rectangular distribution
    over all between them.
    """
    of_laser = 0.0 if transmission is None else transmission.value
    inputs = [(lifetime, 0.5)] if transmission is None else [(lifetime, 0.5), (transmission, 0.5)]
    half = 0.5 * abs(lifetime.value - of_laser)
    return Estimate(
        name="g2_detuning_correction",
        value=0.5 * (lifetime.value + of_laser),
        method="between that of re-excitation, as 1/T1, and that of leaked laser",
        budget=(
            *propagate(inputs),
            Contribution("re-excitation or leaked laser", half / math.sqrt(3.0), "B"),
        ),
    )


def on_resonance(measured: Estimate, correction: Estimate) -> Estimate:
    """Return an estimate that was too large by a detuning correction, as on resonance.

    Parameters
    ----------
    measured
        The quantity as measured.
    correction
        Its relative excess over that on resonance: ``measured/(1 + correction)`` is returned.

    Notes
    -----
    Uncertainty and intervals are those of both.
    """
    factor = 1.0 + correction.value
    value = measured.value / factor

    def interval(k: float, own: Interval | None, of_correction: Interval | None) -> Interval | None:
        if own is None and of_correction is None:
            return None
        low, high = own or (measured.value - k * measured.u, measured.value + k * measured.u)
        least, most = of_correction or (
            correction.value - k * correction.u,
            correction.value + k * correction.u,
        )
        return (
            value
            - math.hypot((measured.value - low) / factor, value - measured.value / (1.0 + most)),
            value
            + math.hypot((high - measured.value) / factor, measured.value / (1.0 + least) - value),
        )

    return replace(
        measured,
        value=value,
        method=(
            f"{measured.method}; detuning correction of {100.0 * correction.value:.2g} % "
            f"({correction.definition})"
        ),
        budget=propagate([(measured, 1.0 / factor), (correction, -value / factor)]),
        interval_68=interval(1.0, measured.interval_68, correction.interval_68),
        interval_95=interval(K_95, measured.interval_95, correction.interval_95),
    )
