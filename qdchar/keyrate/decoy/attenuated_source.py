"""Single photons with decoy states: a switched attenuator behind the source.

Alice attenuates each pulse by a transmission drawn from a few settings. Attenuation thins the
photon number binomially, so with <n> and g2(0) known the photon-number distribution of every
setting is known, and the counts per setting show what an eavesdropper did to single photons. Multi-
photon pulses then no longer have to be given up: the source keeps its lead at losses where the
protocol without decoy states has lost it.

Proof and assumptions. The counting is that of decoy-state BB84 (Hwang 2003; Lo, Ma, Chen 2005; Lim
2014 for finite blocks), with the thinned distribution in place of Poisson's. It needs

- photon-number states without phase coherence between them (randomise the phase of a resonantly
  driven dot), pulses independent of one another;
- an attenuator that changes nothing but the mean: not the spectrum, timing, polarisation or g2.
  Exciting the dot more weakly is not such an attenuator;
- true <n> and g2(0): time-averaged, at the channel's input, nothing subtracted;
- at most three photons in a pulse, three with at most a probability that is stated (`p3_max`). With
  `p3_max` = 0 two settings and vacuum determine the single photons' yield exactly.

References
----------
H.-K. Lo, X. Ma, K. Chen, Phys. Rev. Lett. 94, 230504 (2005),
https://doi.org/10.1103/PhysRevLett.94.230504. Decoy states with quantum dots, from the
truncated photon statistics of a biexciton-exciton cascade: Y. Bloom et al.,
PRX Quantum 6, 030332 (2025), arXiv:2409.07939.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..link_parameters import LinkParameters
from ..receiver import Clicks, live_shares, receive
from ..tail_bounds import binary_entropy, expected_lower, expected_upper
from .coherent import yield_and_error

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttenuatedSource:
    """A single-photon source and what a switched attenuator makes of it.

    Attributes
    ----------
    n, g2
        At the attenuator's input.
    transmission
        Of each setting, shape (settings, ...): open (1), weak, blocked (0, or nearly).
    share
        Probability of each setting, same shape.
    p3_max
        Largest probability of three photons in a pulse; no pulse holds more than three.
    """

    n: Floats
    g2: Floats
    transmission: Floats
    share: Floats
    p3_max: Floats

    def photons(self, p3: ArrayLike = 0.0) -> Floats:
        """Photon-number distribution per setting, shape (settings, 4, ...).

        Parameters
        ----------
        p3
            Three-photon probability at the attenuator's input.
        """
        pairs = self.g2 * self.n**2
        p3 = np.asarray(p3, dtype=np.float64)
        p2 = pairs / 2 - 3 * p3
        p1 = self.n - pairs + 3 * p3
        p0 = 1 - p1 - p2 - p3
        a, b = self.transmission, 1 - self.transmission
        thinned = [
            p0 + b * p1 + b**2 * p2 + b**3 * p3,
            a * p1 + 2 * a * b * p2 + 3 * a * b**2 * p3,
            a**2 * p2 + 3 * a**2 * b * p3,
            a**3 * p3 * np.ones_like(b),
        ]
        return np.stack(np.broadcast_arrays(*thinned), axis=1)

    def light(self, given: LinkParameters, p3: ArrayLike = 0.0) -> tuple[Floats, Floats]:
        """Click and wrong-click probability from light of each setting, shape (settings, ...)."""
        p = self.ends[0] if np.ndim(p3) == 0 and p3 == 0 else self.photons(p3)
        clicks, wrong = zip(*(yield_and_error(k, given) for k in range(4)), strict=True)
        return (
            np.asarray(sum(p[:, k] * clicks[k] for k in range(4))),
            np.asarray(sum(p[:, k] * wrong[k] for k in range(4))),
        )

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """Distributions without three-photon pulses, and with as many as may be."""
        none = self.photons(0.0)
        return none, none if not np.any(self.p3_max) else self.photons(self.p3_max)

    def emission(self, photons: int) -> tuple[Floats, Floats]:
        """Least and largest probability that a pulse of any setting holds so many photons."""
        few, many = ((self.share * p[:, photons]).sum(axis=0) for p in self.ends)
        return np.minimum(few, many), np.maximum(few, many)


def single_yield_lower(upper: Floats, lower: Floats, source: AttenuatedSource) -> Floats:
    """Least yield of a single photon, from bounds on the gains of (open, weak, blocked).

    With Q the gain of a setting, Y_k the yield of k photons, a the weak transmission and p the
    distribution at the open setting,
    Q_weak - a^2 Q_open = (p0(a) - a^2 p0) Y0 + a (1 - a) (n - 3 a p3) Y1
    + a^2 (1 - a) p3 (3 Y2 - Y3). Y2 is at most 1; without three-photon pulses the result is exact.
    Near zero loss it is better to give up the multi-photon pulses of one setting; the largest of
    the bounds counts.

    Parameters
    ----------
    upper, lower
        Bounds on the gains, shape (settings, ...).
    source
        The source and its settings.
    """
    a, p3 = source.transmission[1], source.p3_max
    none, most = source.ends
    vacuum_weight = np.maximum(*(p[1, 0] - a**2 * p[0, 0] for p in (none, most)))
    _, dark = vacuum_yield(upper, lower, source)
    rest = lower[1] - a**2 * upper[0] - vacuum_weight * dark - 3 * a**2 * (1 - a) * p3
    best = rest / (a * (1 - a) * source.n)
    vacuum, multi = (np.maximum(p, q) for p, q in _vacuum_and_multi(none, most))
    for j in (0, 1):
        alone = lower[j] - vacuum[j] * dark - multi[j]
        single = np.maximum(none[j, 1], most[j, 1])
        best = np.maximum(best, alone / np.where(single > 0, single, 1.0))
    return np.asarray(np.maximum(best, 0.0))


def vacuum_yield(upper: Floats, lower: Floats, source: AttenuatedSource) -> tuple[Floats, Floats]:
    """Least and largest yield of the vacuum, from bounds on the gains of (open, weak, blocked).

    A blocked setting that lets some light through shows p0 Y0 + sum_k p_k Y_k. Its photons click at
    most r times as often as those of the open setting, r the largest ratio of the p_k of the two.
    """
    none, most = source.ends
    ratio = np.zeros(np.shape(none[0, 0]))
    for p in (none, most):
        for k in (1, 2, 3):
            some = p[0, k] > 0
            ratio = np.maximum(ratio, np.where(some, p[2, k] / np.where(some, p[0, k], 1.0), 0.0))
    blocked = none[2, 0], most[2, 0]
    least = (lower[2] - ratio * upper[0]) / np.maximum(*blocked)
    return np.asarray(np.maximum(least, 0.0)), np.asarray(upper[2] / np.minimum(*blocked))


def _vacuum_and_multi(none: Floats, most: Floats) -> tuple[tuple[Floats, Floats], ...]:
    """Probabilities of vacuum, and of two or more photons, at both ends of the range of p3."""
    return (none[:, 0], most[:, 0]), (none[:, 2] + none[:, 3], most[:, 2] + most[:, 3])


def single_yield_upper(upper: Floats, lower: Floats, source: AttenuatedSource) -> Floats:
    """Largest yield of a single photon, or largest error yield from gains of errors.

    The least of three bounds: all that the open or the weak setting shows above vacuum, and the
    combination of `single_yield_lower`.
    """
    a, p3 = source.transmission[1], source.p3_max
    none, most = source.ends
    least = np.minimum(none, most)
    dark, _ = vacuum_yield(upper, lower, source)
    alone = [
        (upper[j] - least[j, 0] * dark) / np.where(least[j, 1] > 0, least[j, 1], 1.0)
        for j in (0, 1)
    ]
    vacuum_weight = np.minimum(*(p[1, 0] - a**2 * p[0, 0] for p in (none, most)))
    rest = upper[1] - a**2 * lower[0] - vacuum_weight * dark + a**2 * (1 - a) * p3
    both = rest / (a * (1 - a) * (source.n - 3 * a * p3))
    return np.asarray(np.clip(np.minimum(np.minimum(*alone), both), 0.0, 1.0))


@dataclass(frozen=True)
class AttenuatorBounds:
    """What counts per setting (open, weak, blocked) say about photon numbers, in closed form.

    Attributes
    ----------
    source
        The source and its settings.
    eps
        Failure probability of each elementary bound.
    """

    source: AttenuatedSource
    eps: Floats

    def gains(self, counts: Floats, prepared: Floats) -> tuple[Floats, Floats]:
        """Upper and lower bounds of the expected counts per pulse of each setting."""
        pulses = self.source.share * np.where(prepared > 0, prepared, 1.0)
        return expected_upper(counts, self.eps) / pulses, expected_lower(counts, self.eps) / pulses

    def vacuum_upper(self, counts: Floats, errors: Floats) -> None:
        """Return None: the blocked setting shows the vacuum."""
        return None

    def lower(
        self, counts: Floats, prepared: Floats, vacuum_max: Floats | None
    ) -> tuple[Floats, Floats]:
        """Least numbers of vacuum and of single-photon events among counts."""
        upper, lower = self.gains(counts, prepared)
        single = single_yield_lower(upper, lower, self.source)
        dark, _ = vacuum_yield(upper, lower, self.source)
        return (
            np.asarray(prepared * self.source.emission(0)[0] * dark),
            np.asarray(prepared * self.source.emission(1)[0] * single),
        )

    def single_upper(self, counts: Floats, prepared: Floats) -> Floats:
        """Largest number of single-photon events among counts, or among errors."""
        single = single_yield_upper(*self.gains(counts, prepared), self.source)
        most = prepared * self.source.emission(1)[1] * single
        return np.asarray(np.minimum(most, counts.sum(axis=0)))


def asymptotic_phase_error(source: AttenuatedSource, given: LinkParameters) -> Floats:
    """Upper bound on the single photons' error rate in an infinitely long block; at most 1/2."""
    clicks = receive(*source.light(given), given)
    gain, wrong = clicks.x, clicks.wrong_x
    single = single_yield_lower(gain, gain, source)
    some = single > 0
    ratio = single_yield_upper(wrong, wrong, source) / np.where(some, single, 1.0)
    return np.asarray(np.where(some, np.minimum(ratio, 0.5), 0.5))


def asymptotic_rate(source: AttenuatedSource, given: LinkParameters) -> Floats:
    """Secret bits per sent pulse, asymptotic, nearly all pulses with the setting open.

    R = pB {p0 Y0 + p1 Y1 [1 - h(e1)] - f Q h(E)}, the single photons' yield and error from the
    gains of the three settings.

    Parameters
    ----------
    source
        The source and its settings; the shares are not used. The distribution that the gains come
        from has no three-photon pulses, the bounds allow for `p3_max`.
    given
        Channel and receiver.
    """
    clicks = receive(*source.light(given), given)
    gain, wrong = clicks.z, clicks.wrong_z
    single = single_yield_lower(gain, gain, source)
    phase_error = asymptotic_phase_error(source, given)
    none, most = source.ends
    p0, p1 = np.minimum(none[0], most[0])[:2]
    lit = gain[0] > 0
    qber = np.where(lit, wrong[0] / np.where(lit, gain[0], 1.0), 0.5)
    p_z_bob = np.asarray(1.0) if given.active else given.p_z_bob
    opened = Clicks(clicks.z[0], clicks.x[0], clicks.wrong_z[0], clicks.wrong_x[0])
    live_z, _ = live_shares(opened, p_z_bob, given)
    secret = p0 * gain[2] + p1 * single * (1 - binary_entropy(phase_error))
    return np.asarray(
        np.maximum(p_z_bob * live_z * (secret - given.f_ec * gain[0] * binary_entropy(qber)), 0.0)
    )
