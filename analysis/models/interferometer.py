"""Interferometer unbalanced by one pulse period: where one and two photons leave.

Light goes into the short arm with the transmittance T1 of the first splitter, and into the long arm
with its reflectance R1. At the second splitter, light from the short arm leaves to detector A with
the transmittance, light from the long arm with the reflectance: R2 and T2 where both arms have the
polarisation of the input. With orthogonal arms the light of the long arm is turned by 90 degrees,
and the second splitter reflects R2o and transmits T2o of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qdchar.estimate import Contribution, Estimate, propagate


@dataclass(frozen=True, kw_only=True)
class Interferometer:
    """Certificates of the interferometer.

    Attributes
    ----------
    first
        R1, reflectance of the first splitter.
    second
        R2, reflectance of the second one, for the polarisation of the input.
    orthogonal
        R2o, reflectance of the second one for the orthogonal polarisation.
    overlap
        1 - eps, fringe visibility with coherent light that is equally bright from both arms.
    """

    first: Estimate
    second: Estimate
    orthogonal: Estimate
    overlap: Estimate


def parallel_coincidences(first: float, second: float, pairs: float, interfering: float) -> float:
    """Coincidences per pulse at zero delay over n^2, parallel arms.

    Parameters
    ----------
    first, second
        R1 and R2.
    pairs
        g2(0) of the light, whose pairs come from one pulse.
    interfering
        M (1 - eps)^2, overlap of two photons that meet at the second splitter.

    Notes
    -----
    One photon from each arm leave by different outputs with amplitude T2 - R2 if they are alike,
    and with probability T2^2 + R2^2 if they are not::

        C_par = R1 T1 {T2^2 + R2^2 - 2 R2 T2 (1 - eps)^2 M} + g2 (T1^2 + R1^2) R2 T2

    The two photons of a pair that are in one arm do not interfere: they split with 2 R2 T2, and
    there are g2 n^2/2 pairs per pulse.
    """
    t1, t2 = 1.0 - first, 1.0 - second
    meeting = t2**2 + second**2 - 2.0 * second * t2 * interfering
    return first * t1 * meeting + pairs * (t1**2 + first**2) * second * t2


def orthogonal_coincidences(first: float, second: float, orthogonal: float, pairs: float) -> float:
    """Coincidences per pulse at zero delay over n^2, orthogonal arms.

    Parameters
    ----------
    first, second, orthogonal
        R1, R2 and R2o.
    pairs
        g2(0) of the light.

    Notes
    -----
    As `parallel_coincidences` without interference, and with R2o for light of the long arm::

        C_orth = R1 T1 {T2 T2o + R2 R2o} + g2 (T1^2 R2 T2 + R1^2 R2o T2o)
    """
    t1, t2, t2o = 1.0 - first, 1.0 - second, 1.0 - orthogonal
    meeting = t2 * t2o + second * orthogonal
    alone = t1**2 * second * t2 + first**2 * orthogonal * t2o
    return first * t1 * meeting + pairs * alone


def fringe_contrast(first: float, second: float) -> float:
    """Amplitude of a fringe of coherent light in both outputs, over the product of their shares.

    Notes
    -----
    Output A has ``T1 T2 + R1 R2 + 2 sqrt(R1 T1 R2 T2) cos(phase)`` of the light and B the rest.
    With detectors of different efficiency, the share of A's clicks, whose mean is m, then has an
    amplitude of ``m (1 - m)`` times this contrast, to first order in the coherence.
    """
    t1, t2 = 1.0 - first, 1.0 - second
    to_a, to_b = t1 * t2 + first * second, t1 * second + first * t2
    return 2.0 * math.sqrt(first * t1 * second * t2) / (to_a * to_b)


def with_second_order(
    value: Callable[[Sequence[float]], float], inputs: Sequence[Estimate]
) -> tuple[Contribution, ...]:
    """Propagate certificates through a function that may have an extremum at their values.

    The function of a splitter's reflectance has one at 0.5, where its first derivative is 0 and the
    uncertainty would be. So the second order is added as in GUM 5.1.2, note, from values one
    standard uncertainty up and down: ``u^2 = (f' u)^2 + (f'' u^2)^2/2``.
    """
    at = [e.value for e in inputs]
    middle = value(at)
    slopes = []
    for k, e in enumerate(inputs):
        if e.u == 0.0:
            continue
        up, down = (value([*at[:k], e.value + s * e.u, *at[k + 1 :]]) for s in (1.0, -1.0))
        first, second = 0.5 * (up - down), up + down - 2.0 * middle
        u = math.copysign(math.hypot(first, second / math.sqrt(2.0)), first)
        slopes.append((e, u / e.u))
    return propagate(slopes)
