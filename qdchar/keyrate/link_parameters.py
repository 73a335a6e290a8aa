"""The link as the key-rate formulas use it: efficiencies and probabilities, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.link import Link

Floats = NDArray[np.float64]

# Detections per pulse below which none are expected: a block's length would overflow.
_LEAST_GAIN = 1e-100

BlockKind = Literal["received", "sent", "asymptotic"]


@dataclass(frozen=True)
class LinkParameters:
    """Channel, receiver and security constants; every number may be an array.

    Attributes
    ----------
    eta
        Transmission from Alice's output to a click, receiver included.
    p_dark
        Dark counts per pulse, over all detectors.
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
    def from_link(cls, link: Link, loss_dB: ArrayLike | None = None) -> LinkParameters:
        """Parameters of a link, at its own loss or at others.

        Parameters
        ----------
        link
            The link.
        loss_dB
            Channel losses [dB], any shape; None for the link's own.
        """
        loss = np.asarray(link.channel_loss.value if loss_dB is None else loss_dB, dtype=np.float64)
        return cls(
            eta=np.asarray(10 ** (-loss / 10) * link.receiver_efficiency),
            p_dark=np.float64(link.dark_count_probability) * np.ones_like(loss),
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Broadcast shape of all the arrays."""
        return np.broadcast_shapes(*(a.shape for a in self._arrays().values()))

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
        return self._with({n: a[rows] if len(a) > 1 else a for n, a in self._arrays().items()})

    def _arrays(self) -> dict[str, Floats]:
        return {f.name: getattr(self, f.name) for f in fields(self)[:9]}

    def _with(self, arrays: dict[str, Floats]) -> LinkParameters:
        return LinkParameters(
            **arrays,
            active=self.active,
            block_kind=self.block_kind,
            rigorous=self.rigorous,
        )
