"""A key exchange in the simulated lab: its link, its transmitter, and the two sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdchar.drivers.twin.exchange_lab import (
    CHANNELS,
    Eavesdropper,
    ExchangeLab,
    PhotonSplitting,
    QuantumLink,
)
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import UsageError
from qdchar.exchange.messages import PublicChannel, Traffic
from qdchar.exchange.prediction import CASCADE_EFFICIENCY, Plan, PredictedKey, predicted_key
from qdchar.exchange.receiver import Receiver
from qdchar.exchange.session import MadeKey, make_key
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.photon_statistics import two_photon_distribution
from qdchar.keyrate.result import Protocol
from qdchar.keyrate.single_photon.finite_key import Accounting
from qdchar.link import Constant, Link

DEFAULT_BLOCK = 2e6
"""Detections of an exchange: some seconds of processor time."""

_BYTES_EACH = 120
"""Memory for each detection, tags included; see `validation/exchange.py --throughput`."""

_MOST_DETECTIONS = 3e7
"""3.6 GB of memory."""


@dataclass(frozen=True)
class Exchange:
    """An exchange in the simulated lab.

    Attributes
    ----------
    plan, predicted
        What was agreed on, and the key that it was expected to give.
    made
        The key, and how it was made.
    traffic
        Messages by subject.
    tapped_bits
        Sifted bits that the photon-splitting eavesdropper knows; None for other ones.
    """

    plan: Plan
    predicted: PredictedKey
    made: MadeKey
    traffic: dict[str, Traffic]
    tapped_bits: int | None = None

    @property
    def unknown_bits(self) -> int | None:
        """Sifted bits that it cannot know: neither tapped nor disclosed by correction or hash."""
        if self.tapped_bits is None:
            return None
        disclosed = sum(traffic.disclosed_bits for traffic in self.traffic.values())
        return self.made.key_errors.detections - self.tapped_bits - disclosed


def link_of_exchange(link: Link, block: float | None = None, loss_dB: float | None = None) -> Link:
    """Complete a link for an exchange in the simulated lab.

    What the link does not say is taken from the lab (dead time), from the error correction that is
    used (its efficiency), and `DEFAULT_BLOCK`.

    Parameters
    ----------
    link
        As given.
    block
        Detections, instead of the link's block.
    loss_dB
        Loss of the channel, instead of the link's; exact.

    Raises
    ------
    UsageError
        The link asks for published bounds or an active receiver, the block has no end or is too
        small, or the loss is not possible.
    """
    if link.security == "published":
        raise UsageError(
            'exchange: the bounds are rigorous; the link says security = "published": leave it out'
        )
    if link.receiver != "passive":
        raise UsageError("exchange: the simulated receiver is passive; the link says active")
    changes: dict[str, object] = {}
    if "dead_time" not in link.model_fields_set:
        changes["dead_time"] = Constant(value=Truth().detectors.dead_time_s)
    if "error_correction_efficiency" not in link.model_fields_set:
        changes["error_correction_efficiency"] = CASCADE_EFFICIENCY
    if block is not None or "block" not in link.model_fields_set:
        changes |= {"block": DEFAULT_BLOCK if block is None else block, "block_kind": "received"}
    if loss_dB is not None:
        if not 0 <= loss_dB < np.inf:
            raise UsageError(f"exchange: a loss of {loss_dB:g} dB: 0 dB or more")
        changes |= {"channel_loss": Constant(value=loss_dB), "channel_parts": {}}
    complete = link.model_copy(update=changes)
    if complete.block_kind == "asymptotic":
        raise UsageError("exchange: an asymptotic block has no end; give --block")
    if not 1000 <= complete.block < np.inf:
        raise UsageError(f"exchange: a block of {complete.block:g}: at least 1000")
    return complete


def exchange(
    source: SourceFigures,
    link: Link,
    *,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    eps_source: float | None = None,
    seed: int = 1,
    eavesdropper: Eavesdropper | None = None,
    channel: PublicChannel | None = None,
) -> Exchange:
    """Plan, predict and make one key.

    Parameters
    ----------
    source
        The record's quantities with their uncertainties. The simulated lab sends what their best
        estimates say.
    link
        Of `link_of_exchange`; what it says is true in the simulated lab.
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    eps_source
        Probability that the source exceeds the limit of its multi-photon probability; default the
        link's secrecy parameter.
    seed
        Of the pattern, the lab and both sides.
    eavesdropper
        At the input of the channel; default none.
    channel
        Carries the public messages; default a new one.

    Raises
    ------
    UsageError
        An option is out of its range; no key can be expected of this source on this link; there
        would be too many detections for this computer.
    InconclusiveError
        As in `qdchar.exchange.session.make_key`.
    """
    eps_source = link.epsilon_secrecy if eps_source is None else eps_source
    plan = Plan.best(source, link, protocol=protocol, accounting=accounting, eps_source=eps_source)
    # streams of their own: the lab has 1 and 2
    predict_rng, alice_rng, bob_rng = (np.random.default_rng([seed, n]) for n in (10, 11, 12))
    predicted = predicted_key(plan, predict_rng)
    if predicted.key_length == 0:
        raise UsageError(
            f"exchange: no key is expected of {link.block:g} {link.block_kind} pulses at "
            f"{link.channel_loss.value:g} dB; give a larger --block or less loss (`qdchar keyrate` "
            "says what limits it)"
        )
    if predicted.detections > _MOST_DETECTIONS:
        raise UsageError(
            f"exchange: {predicted.detections:.3g} detections need "
            f"{1e-9 * _BYTES_EACH * predicted.detections:.0f} GB of memory; at most "
            f"{_MOST_DETECTIONS:g}: give a smaller --block"
        )
    pattern = plan.pattern(int(alice_rng.integers(0, 2**63)))
    lab = ExchangeLab(pattern, _true_link(plan), seed, eavesdropper)
    clock_Hz = source.clock_rate.value
    channel = channel or PublicChannel()
    receiver = Receiver(CHANNELS, clock_Hz, link.gate_width.value)
    made = make_key(plan, pattern, lab.tag_blocks(), receiver, alice_rng, bob_rng, channel)
    tapped = None
    if isinstance(eavesdropper, PhotonSplitting):
        known = np.concatenate(lab.tapped_pulses)
        tapped = int(np.isin(made.sifted_pulses, known).sum())
    return Exchange(plan, predicted, made, dict(channel.traffic), tapped)


def _true_link(plan: Plan) -> QuantumLink:
    """Return the plan's link as it is in the simulated lab, with that lab's jitter and decay."""
    source, link, truth = plan.source, plan.link, Truth()
    _, one, two = two_photon_distribution(source.mean_photon_number.value, source.g2_zero.value)
    a, b, c, d = (share * link.dark_count_rate.value for share in link.detector_dark_shares)
    return QuantumLink(
        one_photon=float(one),
        two_photons=float(two),
        attenuation=plan.attenuation,
        channel=10 ** (-link.channel_loss.value / 10),
        receiver=link.receiver_efficiency,
        misalignment=link.misalignment.value,
        to_z=link.receiver_z_probability,
        dark_Hz=(a, b, c, d),
        background_Hz=link.background_count_rate.value,
        dead_time_s=link.dead_time.value,
        jitter_s=truth.detectors.jitter_s,
        resolution_ps=truth.detectors.resolution_ps,
        clock_Hz=source.clock_rate.value,
        lifetime_s=truth.source.lifetime_s,
    )
