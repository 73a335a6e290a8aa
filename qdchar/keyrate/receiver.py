"""The receiver: from light that reaches it to clicks in each basis.

Behind a passive beam splitter stand four detectors, two a basis; an active receiver has two, which
serve the basis that Bob has chosen. Each detector has its own dark counts. Light, also background
light, takes the way of the beam splitter; dark counts do not. Of several detectors that click in
one gate a fair coin picks one: the basis, if both bases clicked, then the outcome.

What follows is exact for gates with at most two photons, and to second order in the dark counts of
a gate. With the coin a pair of photons falls into a basis, and errs, as often as one photon does:
at a splitting ratio q, q^2 + 2 q (1 - q) / 2 = q. So the light of a gate counts as one event, in
basis Z with probability q.

After a click a detector is dead. A detector that clicks r times a second in the mean is live for
1 / (1 + r dead_time) of the time (non-paralysable dead time).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .link_parameters import ArmResponse, LinkParameters

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clicks:
    """Clicks per pulse, in each basis: given that Bob chooses it.

    Attributes
    ----------
    z, x
        Probability of a click.
    wrong_z, wrong_x
        Probability of a click with the wrong outcome, where Alice sends in the same basis.
    """

    z: Floats
    x: Floats
    wrong_z: Floats
    wrong_x: Floats

    def times(self, live: tuple[Floats, Floats]) -> Clicks:
        """Clicks that are left when the detectors of (Z, X) are live for these shares."""
        z, x = live
        return Clicks(z * self.z, x * self.x, z * self.wrong_z, x * self.wrong_x)

    def busiest(self, p_z_bob: Floats, given: LinkParameters) -> Floats:
        """Clicks per pulse of the busiest detector."""
        if given.active:
            return np.asarray(self.total(p_z_bob) / 2)
        return np.asarray(np.maximum(p_z_bob * self.z, (1 - p_z_bob) * self.x) / 2)

    def total(self, p_z_bob: Floats) -> Floats:
        """Clicks per pulse in both bases, Bob's Z probability given."""
        return np.asarray(p_z_bob * self.z + (1 - p_z_bob) * self.x)


def receive(light: Floats, wrong: Floats, given: LinkParameters) -> Clicks:
    """Clicks of live detectors.

    Parameters
    ----------
    light
        Probability per pulse that a detector would click from light, background light included.
    wrong
        The same with the wrong outcome, where Alice and Bob use the same basis.
    given
        The receiver.
    """
    z, x = given.arms
    return Clicks(
        np.asarray(z.dark + z.light * light),
        np.asarray(x.dark + x.light * light),
        _arm_wrong(light, wrong, z),
        _arm_wrong(light, wrong, x),
    )


def live_shares(clicks: Clicks, p_z_bob: Floats, given: LinkParameters) -> tuple[Floats, Floats]:
    """Shares of time during which the detectors of Z and of X are live.

    Parameters
    ----------
    clicks
        Mean over all that Alice sends.
    p_z_bob
        Bob's Z probability.
    given
        Dead time, and clicks outside of the gates.
    """
    if given.active:
        both = 1 / (1 + given.dead_pulses * clicks.total(p_z_bob) / 2 + given.busy_z)
        return both, both
    z = given.dead_pulses * p_z_bob * clicks.z / 2 + given.busy_z
    x = given.dead_pulses * (1 - p_z_bob) * clicks.x / 2 + given.busy_x
    return np.asarray(1 / (1 + z)), np.asarray(1 / (1 + x))


def _arm_wrong(light: Floats, wrong: Floats, arm: ArmResponse) -> Floats:
    return np.asarray(arm.dark / 2 + arm.wrong_light * light + arm.wrong * wrong)
