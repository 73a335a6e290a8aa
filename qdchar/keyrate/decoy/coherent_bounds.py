"""Decoy-state bounds for coherent light from counts per intensity, in closed form.

The settings stand on the first axis of every array of counts, strongest intensity first:
(signal, weak, vacuum) for vacuum + weak, (signal, decoy) for one decoy.

References
----------
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307,
eqs. 2-5. D. Rusca et al., Appl. Phys. Lett. 112, 171104 (2018),
https://doi.org/10.1063/1.5023340, eqs. A.11-A.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..link_parameters import LinkParameters
from ..tail_bounds import expected_lower, expected_upper

Floats = NDArray[np.float64]
Bound = Literal["yin", "hoeffding"]

# Elementary tail bounds among which a decoy analysis shares its failure probability, and those
# that the rigorous version adds.
_TAIL_BOUNDS = 22
_RIGOROUS_TAIL_BOUNDS = 4


def elementary_eps(given: LinkParameters) -> Floats:
    """Failure probability of each elementary bound of a decoy analysis."""
    return given.eps_pe / (_TAIL_BOUNDS + (_RIGOROUS_TAIL_BOUNDS if given.rigorous else 0))


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

    @cached_property
    def empty(self) -> Floats:
        """Probability of each setting times that of no photon in its pulse."""
        return self.share * np.exp(-self.mean)

    @cached_property
    def emission(self) -> tuple[Floats, Floats]:
        """Probabilities that a pulse of any setting holds 0 and 1 photons."""
        return self.empty.sum(axis=0), (self.empty * self.mean).sum(axis=0)


@dataclass(frozen=True)
class CoherentBounds:
    """What counts per intensity say about the photon numbers behind them.

    Attributes
    ----------
    light
        Intensities and their shares.
    eps
        Failure probability of each elementary bound.
    bound
        "yin" takes each setting by itself; "hoeffding" takes the settings as one sample.
    capped
        Errors of single photons are at most all errors that were observed. Lim 2014 prints no
        such cap; it is sound, and where errors are few it is the tighter bound.
    """

    light: Intensities
    eps: Floats
    bound: Bound = "yin"
    capped: bool = True

    def _expected(self, counts: Floats) -> tuple[Floats, Floats]:
        """Upper and lower bound of counts' expectations, each times e^mean / share."""
        empty = self.light.empty
        if self.bound == "yin":
            return (
                expected_upper(counts, self.eps) / empty,
                expected_lower(counts, self.eps) / empty,
            )
        delta = hoeffding_deviation(counts, self.eps)
        return (counts + delta) / empty, np.maximum(counts - delta, 0.0) / empty

    def vacuum_upper(self, counts: Floats, errors: Floats) -> Floats | None:
        """Largest number of vacuum events among counts: they are wrong half of the time.

        None with a vacuum setting, which shows them directly.
        """
        if len(self.light.mean) == 3:
            return None
        upper, _ = self._expected(errors)
        wrong = self.light.emission[0] * upper.min(axis=0)
        if self.bound == "yin":
            return np.asarray(2 * expected_upper(wrong, self.eps))
        return np.asarray(2 * (wrong + hoeffding_deviation(counts, self.eps)))

    def lower(
        self, counts: Floats, prepared: Floats, vacuum_max: Floats | None
    ) -> tuple[Floats, Floats]:
        """Least numbers of vacuum and of single-photon events among counts.

        Parameters
        ----------
        counts
            Per setting.
        prepared
            Pulses sent; not used, because the shares of the intensities are known.
        vacuum_max
            Upper bound of the vacuum events, where `vacuum_upper` gives one.

        Returns
        -------
        vacuum, single
            Of all settings together; 0 or more.
        """
        light = self.light
        upper, lower = self._expected(counts)
        t0, t1 = light.emission
        strong, weak = light.mean[0], light.mean[1]
        square = (weak / strong) ** 2
        if vacuum_max is None:
            vacuum = t0 * lower[2]
            rest = lower[1] - upper[2] - square * (upper[0] - vacuum / t0)
        else:
            vacuum = t0 * np.maximum(strong * lower[1] - weak * upper[0], 0.0) / (strong - weak)
            rest = lower[1] - square * upper[0] - (1 - square) * vacuum_max / t0
        single = t1 * strong / (weak * (strong - weak)) * rest
        return vacuum, np.asarray(np.maximum(single, 0.0))

    def single_upper(self, counts: Floats, prepared: Floats) -> Floats:
        """Largest number of single-photon events among counts, or among errors; 0 or more."""
        light = self.light
        upper, lower = self._expected(counts)
        # vacuum + weak subtracts what the vacuum setting shows; one decoy what the weak one shows
        weak, background = (1, 2) if len(light.mean) == 3 else (0, 1)
        per_photon = light.mean[weak] - light.mean[background]
        single = light.emission[1] * (upper[weak] - lower[background]) / per_photon
        most = counts.sum(axis=0) if self.capped else np.inf
        return np.asarray(np.minimum(np.maximum(single, 0.0), most))


def hoeffding_deviation(counts: Floats, eps: Floats) -> Floats:
    """Half-width sqrt(n/2 ln(1/eps)) for the n counts of all settings together."""
    return np.asarray(np.sqrt(counts.sum(axis=0) / 2 * -np.log(eps)))
