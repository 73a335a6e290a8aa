"""The link as the key-rate formulas use it: efficiencies and probabilities, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError
from qdchar.link import Link

Floats = NDArray[np.float64]

# Detections per pulse below which none are expected: a block's length would overflow.
_LEAST_GAIN = 1e-100

_NO_ARRAYS = ("active", "block_kind", "rigorous")

BlockKind = Literal["received", "sent", "asymptotic"]


@dataclass(frozen=True)
class ArmResponse:
    """Clicks in one basis as a function of the light, see `qdchar.keyrate.receiver`.

    Attributes
    ----------
    dark, light
        Clicks = dark + light L, with L the probability of a click from light.
    wrong_light, wrong
        Wrong clicks = dark / 2 + wrong_light L + wrong W, W that of a wrong click from light.
    """

    dark: Floats
    light: Floats
    wrong_light: Floats
    wrong: Floats

    @classmethod
    def of(cls, own: Floats, other: Floats, ratio: Floats) -> ArmResponse:
        """Two detectors of one basis.

        Parameters
        ----------
        own
            Dark counts per gate, both detectors of this basis together.
        other
            Probability of a dark count per gate in the other basis; 0 where nothing looks at it.
        ratio
            How often Bob chooses the other basis for each time that he chooses this one.
        """
        keeps = 1 - other / 2
        any_own = own - own**2 / 4
        dark = any_own * (1 + ratio) * keeps
        crossed = ratio * any_own / 2
        return cls(
            dark=dark,
            light=keeps + crossed - dark,
            wrong_light=keeps * own / 4 + crossed / 2 - dark / 2,
            wrong=keeps * (1 - own / 2),
        )


@dataclass(frozen=True)
class LinkParameters:
    """Channel, receiver and security constants; every number may be an array.

    Attributes
    ----------
    eta
        Transmission from Alice's output to a click, receiver included.
    p_dark
        Dark counts per gate of the detectors themselves, summed over all.
    p_background
        Probability per gate of a click from background light, over all detectors.
    dark_share_z
        Share of `p_dark` in the detectors of Z behind a passive receiver; not used where `active`.
    dead_pulses
        Dead time in pulse periods; 0 for detectors without.
    busy_z, busy_x
        Clicks outside of the gates in one detector of Z (of both bases where `active`) and of X,
        times the dead time.
    e_mis
        Error probability of a detected photon.
    f_ec
        Error-correction bits over the Shannon limit.
    p_z_bob
        Bob's Z probability behind a passive receiver; not used where `active`.
    active
        Bob chooses his basis with Alice's probability.
    block
        Pulses in the block, counted as `block_kind` says; not used when "asymptotic".
    eps_pe, eps_pa, eps_cor
        Failure probabilities of parameter estimation, privacy amplification and verification.
    rigorous
        The bounds of a proof share `eps_pe` (else each has all of it), and the sampling bound
        holds for the tail (else for one outcome, as published).
    """

    eta: Floats
    p_dark: Floats
    p_background: Floats
    dark_share_z: Floats
    dead_pulses: Floats
    busy_z: Floats
    busy_x: Floats
    e_mis: Floats
    f_ec: Floats
    p_z_bob: Floats
    block: Floats
    eps_pe: Floats
    eps_pa: Floats
    eps_cor: Floats
    active: bool = False
    block_kind: BlockKind = "received"
    rigorous: bool = False

    @classmethod
    def from_link(
        cls,
        link: Link,
        loss_dB: ArrayLike | None = None,
        clock_rate_hz: float | None = None,
        background_hz: ArrayLike | None = None,
    ) -> LinkParameters:
        """Parameters of a link, at its own loss or at others.

        Parameters
        ----------
        link
            The link.
        loss_dB
            Channel losses [dB], any shape; None for the link's own.
        clock_rate_hz
            Pulses sent per second [Hz]; needed where the link has a dead time.
        background_hz
            Background counts of all detectors [Hz], the shape of `loss_dB`; None for the link's.

        Raises
        ------
        UsageError
            The gate is longer than the time between two pulses.
        """
        outside, dead_pulses = 1.0, 0.0
        if clock_rate_hz is None:
            if link.dead_time.value > 0:
                raise ValueError("a dead time needs the clock rate")
        else:
            gated = link.gate_width.value * clock_rate_hz
            if gated > 1:
                raise UsageError(
                    f"link: gate_width = {link.gate_width.value:g} s is longer than the time "
                    f"between two pulses, {1 / clock_rate_hz:.4g} s at {clock_rate_hz:g} Hz: each "
                    "click would count for two pulses. Give a shorter gate_width in the link file"
                )
            outside, dead_pulses = 1 - gated, link.dead_time.value * clock_rate_hz
        given = link.background_count_rate.value if background_hz is None else background_hz
        background = np.asarray(given, dtype=np.float64)
        if np.any(background * link.gate_width.value > 1):
            raise UsageError("link: more than one background count per gate")
        dark, light = link.dark_count_rate.value / 2, background / 2
        shares = [1.0, 1.0]
        splits = [1.0, 1.0]
        if link.receiver == "passive":
            shares = [link.dark_count_share_z, 1 - link.dark_count_share_z]
            splits = [link.receiver_z_probability, 1 - link.receiver_z_probability]
        busy = [
            link.dead_time.value * outside * (dark * share + light * split)
            for share, split in zip(shares, splits, strict=True)
        ]
        loss = np.asarray(link.channel_loss.value if loss_dB is None else loss_dB, dtype=np.float64)
        return cls(
            eta=np.asarray(10 ** (-loss / 10) * link.receiver_efficiency),
            p_dark=np.float64(link.dark_count_probability) * np.ones_like(loss),
            p_background=background * link.gate_width.value * np.ones_like(loss),
            dark_share_z=np.asarray(link.dark_count_share_z),
            dead_pulses=np.asarray(dead_pulses),
            busy_z=np.asarray(busy[0]),
            busy_x=np.asarray(busy[1]),
            e_mis=np.float64(link.misalignment.value) * np.ones_like(loss),
            f_ec=np.asarray(link.error_correction_efficiency),
            p_z_bob=np.asarray(link.receiver_z_probability),
            block=np.asarray(link.block),
            eps_pe=np.asarray(link.epsilon_parameter_estimation),
            eps_pa=np.asarray(link.epsilon_privacy_amplification),
            eps_cor=np.asarray(link.epsilon_correctness),
            active=link.receiver == "active",
            block_kind=link.block_kind,
            rigorous=link.security == "rigorous",
        )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Broadcast shape of all the arrays."""
        return np.broadcast_shapes(*(a.shape for a in self._arrays().values()))

    @cached_property
    def arms(self) -> tuple[ArmResponse, ArmResponse]:
        """Responses of the bases Z and X."""
        if self.active:
            zero = np.zeros(())
            either = ArmResponse.of(self.p_dark, zero, zero)
            return either, either
        q = self.p_z_bob
        z, x = self.p_dark * self.dark_share_z, self.p_dark * (1 - self.dark_share_z)
        return (
            ArmResponse.of(z, x - x**2 / 4, (1 - q) / q),
            ArmResponse.of(x, z - z**2 / 4, q / (1 - q)),
        )

    def bob(self, p_z: Floats) -> Floats:
        """Bob's Z probability when Alice's is `p_z`."""
        return p_z if self.active else self.p_z_bob

    def pulses_sent(self, gain: Floats) -> Floats:
        """Pulses that Alice sends for a block, at `gain` detections per pulse; 0 at no gain."""
        if self.block_kind == "sent":
            return np.asarray(self.block * np.ones_like(gain))
        detects = gain > _LEAST_GAIN
        return np.asarray(np.where(detects, self.block / np.where(detects, gain, 1.0), 0.0))

    def eps_bound(self, bounds: int) -> Floats:
        """Failure probability of each of a proof's `bounds` tail bounds."""
        return self.eps_pe / bounds if self.rigorous else self.eps_pe

    def flat(self) -> LinkParameters:
        """Return the same parameters with every array broadcast and raveled to shape (points, 1).

        The trailing axis is for the trial settings of an optimiser.
        """
        shape = self.shape
        return self._with(
            {
                name: np.broadcast_to(a, shape).reshape(-1, 1) if a.size > 1 else a.reshape(1, 1)
                for name, a in self._arrays().items()
            }
        )

    def part(self, rows: NDArray[np.intp]) -> LinkParameters:
        """Return some points of flat parameters."""
        if len(rows) == self.shape[0]:
            return self
        return self._with({n: a[rows] if len(a) > 1 else a for n, a in self._arrays().items()})

    def at(self, points: slice) -> LinkParameters:
        """Return some points of parameters of shape (points,)."""
        whole = self._arrays().items()
        return self._with({name: a[points] if a.size > 1 else a for name, a in whole})

    def _arrays(self) -> dict[str, Floats]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_ARRAYS}

    def _with(self, arrays: dict[str, Floats]) -> LinkParameters:
        return LinkParameters(
            **arrays,
            active=self.active,
            block_kind=self.block_kind,
            rigorous=self.rigorous,
        )
