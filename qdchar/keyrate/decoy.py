"""Decoy-state bounds for coherent light from counts per intensity, in closed form.

The settings stand on the first axis of every array of counts, strongest intensity first:
(signal, weak, vacuum) for vacuum + weak, (signal, decoy) for one decoy.

References
----------
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307.
D. Rusca et al., Appl. Phys. Lett. 112, 171104 (2018), https://doi.org/10.1063/1.5023340.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bounds import expected_lower, expected_upper

Floats = NDArray[np.float64]
Bound = Literal["yin", "hoeffding"]

# Elementary tail bounds among which a decoy analysis shares its failure probability.
TAIL_BOUNDS = 22


@dataclass(frozen=True)
class Intensities:
    """Mean photon numbers and how often each is sent.

    Attributes
    ----------
    mean
        Shape (settings, ...), falling; the last is 0 with vacuum + weak.
    share
        Probability of each setting, same shape.
    """

    mean: Floats
    share: Floats

    def emission(self, photons: int) -> Floats:
        """Probability that a pulse of any setting holds 0 or 1 photons (t0, t1)."""
        return np.asarray((self.share * np.exp(-self.mean) * self.mean**photons).sum(axis=0))

    def expected(self, counts: Floats, eps: Floats, bound: Bound) -> tuple[Floats, Floats]:
        """Upper and lower bound of counts' expectations, each times e^mean / share.

        Parameters
        ----------
        counts
            Observed, per setting.
        eps
            Failure probability of each bound.
        bound
            "yin" takes each setting by itself; "hoeffding" takes the settings as one sample.
        """
        scale = np.exp(self.mean) / self.share
        if bound == "yin":
            return scale * expected_upper(counts, eps), scale * expected_lower(counts, eps)
        delta = hoeffding_deviation(counts, eps)
        return scale * (counts + delta), scale * np.maximum(counts - delta, 0.0)


def hoeffding_deviation(counts: Floats, eps: Floats) -> Floats:
    """Half-width sqrt(n/2 ln(1/eps)) for the n counts of all settings together."""
    return np.asarray(np.sqrt(counts.sum(axis=0) / 2 * -np.log(eps)))


def vacuum_upper(
    counts: Floats, errors: Floats, light: Intensities, eps: Floats, bound: Bound
) -> Floats:
    """Largest number of vacuum events among counts: they are wrong half of the time (F30).

    Parameters
    ----------
    counts, errors
        Detections per setting and the errors among them.
    light, eps, bound
        As in `Intensities.expected`.
    """
    upper, _ = light.expected(errors, eps, bound)
    wrong = light.emission(0) * upper.min(axis=0)
    if bound == "yin":
        return np.asarray(2 * expected_upper(wrong, eps))
    return np.asarray(2 * (wrong + hoeffding_deviation(counts, eps)))


def lower_bounds(
    counts: Floats, most_vacuum: Floats | None, light: Intensities, eps: Floats, bound: Bound
) -> tuple[Floats, Floats]:
    """Least numbers of vacuum and of single-photon events among counts (F24, F25, F30).

    Parameters
    ----------
    counts
        Detections per setting.
    most_vacuum
        Upper bound of the vacuum events; needed with one decoy, where no setting shows them.
    light, eps, bound
        As in `Intensities.expected`.

    Returns
    -------
    vacuum, single
        Of all settings together; 0 or more.
    """
    upper, lower = light.expected(counts, eps, bound)
    t0, t1 = light.emission(0), light.emission(1)
    strong, weak = light.mean[0], light.mean[1]
    square = (weak / strong) ** 2
    if most_vacuum is None:
        vacuum = t0 * lower[2]
        rest = lower[1] - upper[2] - square * (upper[0] - vacuum / t0)
    else:
        vacuum = t0 * np.maximum(strong * lower[1] - weak * upper[0], 0.0) / (strong - weak)
        rest = lower[1] - square * upper[0] - (1 - square) * most_vacuum / t0
    single = t1 * strong / (weak * (strong - weak)) * rest
    return vacuum, np.asarray(np.maximum(single, 0.0))


def single_upper(counts: Floats, light: Intensities, eps: Floats, bound: Bound) -> Floats:
    """Largest number of single-photon events among counts, or among errors (F26, F30).

    Returns
    -------
    ndarray
        At most all that was observed; 0 or more.
    """
    upper, lower = light.expected(counts, eps, bound)
    # vacuum + weak subtracts what the vacuum setting shows; one decoy what the weak one shows
    weak, background = (1, 2) if len(light.mean) == 3 else (0, 1)
    per_photon = light.mean[weak] - light.mean[background]
    single = light.emission(1) * (upper[weak] - lower[background]) / per_photon
    return np.asarray(np.clip(single, 0.0, counts.sum(axis=0)))
