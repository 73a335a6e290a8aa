"""Predict the key of a source on a link, with its uncertainty, beside coherent light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError
from qdchar.estimate import Estimate, propagate
from qdchar.link import Link, Quantity

from .comparators import COMPARATORS, comparators_for
from .conditions import BlockKind, Conditions
from .design import Design, attenuator_design, single_photon_design
from .result import PHASE, Comparison, DecoyProtocol, KeyRate, Protocol, advantage_dB
from .single_photon_counts import Accounting
from .source import SourceFigures

Floats = NDArray[np.float64]

# Relative step of the numerical derivatives: truncation and rounding both stay below 1e-5.
_STEP = 1e-3


def predict(
    source: SourceFigures | None = None,
    link: Link | None = None,
    *,
    loss_dB: ArrayLike | None = None,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    block: float | None = None,
    block_kind: BlockKind | None = None,
    p_z: float | None = None,
    attenuation: float | None = None,
    eps_source: float | None = None,
    comparators: Sequence[str] | None = None,
) -> tuple[KeyRate, ...]:
    """Predict the key rate of a source without decoy states.

    Parameters
    ----------
    source, link
        Default: the paper's Table 1 and link.
    loss_dB
        Channel losses [dB], one or many; default the link's own, whose uncertainty then counts
        (a loss that is asked for is exact).
    protocol
        "efficient-bb84" (four states) or "three-state" (loss tolerant).
    accounting
        "alice" needs no assumption on Bob's basis choice; "joint" needs it to be independent of
        the signal.
    block, block_kind
        Instead of the link's: pulses in a block, and whether "received", "sent" or "asymptotic".
    p_z, attenuation
        Hold Alice's Z probability or the pre-attenuation instead of optimising it.
    eps_source
        Take the upper limit of g2 <n>^2 / 2 that fails with this probability, for multi-photon
        pulses to be given up; it adds to the secrecy parameter. Default: the best estimate, as in
        the paper.
    comparators
        Names of protocols for coherent light to compare with; default all that are defined:
        finite-key protocols need a block.

    Returns
    -------
    tuple of KeyRate
        One per loss, in the order given.

    Raises
    ------
    UsageError
        An option is out of its range, or the source is unphysical.

    Examples
    --------
    >>> (at_the_field_link,) = predict(loss_dB=14.6, comparators=())
    >>> round(at_the_field_link.rate_per_pulse, 5), round(at_the_field_link.rate_per_pulse_u, 5)
    (0.0013, 0.00012)
    """
    source, link, losses = _inputs(source, link, loss_dB, block, block_kind)
    _check_options(protocol, accounting, p_z, attenuation, eps_source)
    given = Conditions.from_link(link, losses)
    margin = source.multiphoton_margin(eps_source) if eps_source is not None else 0.0
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    design = single_photon_design(
        n, g2, given, PHASE[protocol], accounting, p_z, attenuation, margin
    )
    return _assemble(
        protocol, accounting, source, link, losses, design, eps_source, comparators, loss_dB is None
    )


def predict_with_decoy(
    source: SourceFigures | None = None,
    link: Link | None = None,
    *,
    loss_dB: ArrayLike | None = None,
    protocol: DecoyProtocol = "efficient-bb84-decoy",
    p3_max: float = 0.0,
    block: float | None = None,
    block_kind: BlockKind | None = None,
    eps_source: float | None = None,
    comparators: Sequence[str] | None = None,
) -> tuple[KeyRate, ...]:
    """Predict the key rate of a source behind a switched attenuator.

    The proof and its assumptions stand in `qdchar.keyrate.attenuator`.

    Parameters
    ----------
    source, link, loss_dB, block, block_kind, comparators
        As in `predict`.
    protocol
        "efficient-bb84-decoy" (four states) or "three-state-decoy".
    p3_max
        Largest probability of three photons in a pulse, at most g2 <n>^2 / 6.
    eps_source
        Take the shortest key for any <n> and g2 of the box that misses the source with this
        probability; it adds to the secrecy parameter. Default: the best estimates.

    Returns
    -------
    tuple of KeyRate
        One per loss, in the order given; their `accounting` is "decoy".

    Examples
    --------
    >>> (far,) = predict_with_decoy(loss_dB=30.0, comparators=("wcp-vacuum-weak-bb84",))
    >>> round(far.comparator("wcp-vacuum-weak-bb84").advantage_dB, 1)
    2.1
    """
    source, link, losses = _inputs(source, link, loss_dB, block, block_kind)
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    phases = {f"{name}-decoy": phase for name, phase in PHASE.items()}
    if protocol not in phases:
        raise UsageError(f"key rate: protocol {protocol!r}: allowed is {' or '.join(phases)}")
    if not 0 <= p3_max <= g2 * n**2 / 6:
        raise UsageError("key rate: p3_max is between 0 and g2 <n>^2 / 6, where p2 would be 0")
    if link.block_kind == "asymptotic" and (
        protocol != "efficient-bb84-decoy" or eps_source is not None
    ):
        what = protocol if eps_source is None else "eps_source with decoy states"
        raise UsageError(f"key rate: {what} needs a block")
    if eps_source is not None and not 0 < eps_source < 0.5:
        raise UsageError("key rate: eps_source is more than 0, less than 0.5")
    limits = () if eps_source is None else source.limits(eps_source)
    given = Conditions.from_link(link, losses)
    design = attenuator_design(n, g2, given, phases[protocol], p3_max, limits)
    return _assemble(
        protocol, "decoy", source, link, losses, design, eps_source, comparators, loss_dB is None
    )


def _inputs(
    source: SourceFigures | None,
    link: Link | None,
    loss_dB: ArrayLike | None,
    block: float | None,
    block_kind: BlockKind | None,
) -> tuple[SourceFigures, Link, Floats]:
    """Fill in what was not given, and check the rest."""
    link = link or Link()
    given = link.channel_loss.value if loss_dB is None else loss_dB
    losses = np.atleast_1d(np.asarray(given, dtype=np.float64)).ravel()
    for wrong, message in (
        (not len(losses), "no loss given"),
        (
            not np.all(np.isfinite(losses) & (losses >= 0)),
            "a loss is 0 dB or more (positive means weaker)",
        ),
        (block is not None and not 0 < block < np.inf, "a block has a positive number of pulses"),
        (
            block_kind not in (None, "received", "sent", "asymptotic"),
            f"block kind {block_kind!r}: allowed is received, sent or asymptotic",
        ),
    ):
        if wrong:
            raise UsageError(f"key rate: {message}")
    changed = {"block": block, "block_kind": block_kind}
    link = link.model_copy(update={k: v for k, v in changed.items() if v is not None})
    return source or SourceFigures(), link, losses


def _assemble(
    protocol: Protocol | DecoyProtocol,
    accounting: Literal["alice", "joint", "decoy"],
    source: SourceFigures,
    link: Link,
    losses: Floats,
    design: Design,
    eps_source: float | None,
    comparators: Sequence[str] | None,
    own_loss: bool,
) -> tuple[KeyRate, ...]:
    """Put uncertainty and comparators beside a design."""
    given = Conditions.from_link(link, losses)
    sensitivities = _sensitivities(source, link, losses, design, own_loss)
    names = _asked(comparators, given)
    others = {name: COMPARATORS[name].rate(given) for name in names}
    clock = source.clock_rate.value
    finite = link.block_kind != "asymptotic"
    return tuple(
        KeyRate(
            protocol=protocol,
            accounting=accounting,
            block=link.block,
            block_kind=link.block_kind,
            loss_dB=float(losses[i]),
            rate_per_pulse=float(design.rate[i]),
            budget=propagate([(estimate, float(slope[i])) for estimate, slope in sensitivities]),
            rate_bps=float(design.rate[i]) * clock,
            p_z=float(design.p_z[i]),
            attenuation=float(design.attenuation[i]),
            qber=float(design.qber[i]),
            phase_error=float(design.phase_error[i]),
            gain=float(design.gain[i]),
            p2=float(design.p2_given_up[i]),
            eps_source=eps_source,
            key_length=float(design.key_length[i]) if finite else None,
            pulses_sent=float(design.pulses_sent[i]) if finite else None,
            acquisition_time_s=float(design.pulses_sent[i]) / clock if finite else None,
            comparators=tuple(
                Comparison(
                    name, float(rate[i]), advantage_dB(float(design.rate[i]), float(rate[i]))
                )
                for name, rate in others.items()
            ),
            decoy=None if design.decoy is None else design.decoy[i],
        )
        for i in range(len(losses))
    )


def _asked(names: Sequence[str] | None, given: Conditions) -> Sequence[str]:
    """Return the comparators that were asked for, or all that are defined."""
    defined = comparators_for(given)
    for name in names or ():
        if name not in COMPARATORS:
            raise UsageError(f"comparator {name!r}: allowed is {', '.join(COMPARATORS)}")
        if name not in defined:
            raise UsageError(f"comparator {name!r} needs a block: it is a finite-key protocol")
    return defined if names is None else names


def _check_options(
    protocol: str,
    accounting: str,
    p_z: float | None,
    attenuation: float | None,
    eps_source: float | None,
) -> None:
    for wrong, message in (
        (protocol not in PHASE, f"protocol {protocol!r}: allowed is {' or '.join(PHASE)}"),
        (accounting not in ("alice", "joint"), f"accounting {accounting!r}: alice or joint"),
        (p_z is not None and not 0 < p_z < 1, "p_z is more than 0 and less than 1"),
        (
            attenuation is not None and not 0 < attenuation <= 1,
            "attenuation is a transmission: more than 0, at most 1",
        ),
        (
            eps_source is not None and not 0 < eps_source < 0.5,
            "eps_source is a failure probability: more than 0, less than 0.5",
        ),
    ):
        if wrong:
            raise UsageError(f"key rate: {message}")


def _sensitivities(
    source: SourceFigures, link: Link, losses: Floats, design: Design, own_loss: bool
) -> list[tuple[Estimate, Floats]]:
    """Return the derivatives of the rate by every uncertain input, at fixed settings.

    At an optimum the settings move the rate in second order only (envelope theorem).
    """

    def rate(n: float, g2: float, changed: Link) -> Floats:
        shift = changed.channel_loss.value - link.channel_loss.value
        return design.rate_at(n, g2, Conditions.from_link(changed, losses + shift))

    n, g2 = source.mean_photon_number, source.g2_zero
    result: list[tuple[Estimate, Floats]] = []
    for estimate in (n, g2):
        if estimate.u == 0:
            continue
        low, high = _around(estimate.value, estimate.u)
        pair = [
            rate(x if estimate is n else n.value, x if estimate is g2 else g2.value, link)
            for x in (low, high)
        ]
        result.append((estimate, (pair[1] - pair[0]) / (high - low)))
    for name, estimate in link.estimates().items():
        given = getattr(link, name)
        if estimate.u == 0 or not isinstance(given, Quantity):
            continue
        if name == "channel_loss" and not own_loss:
            continue
        low, high = _around(estimate.value, estimate.u)
        pair = [
            rate(n.value, g2.value, link.model_copy(update={name: Quantity(value=x)}))
            for x in (low, high)
        ]
        result.append((estimate, (pair[1] - pair[0]) / (high - low)))
    return result


def _around(value: float, u: float) -> tuple[float, float]:
    """Two arguments for a derivative, neither of them below zero."""
    step = _STEP * (value or u)
    return max(value - step, 0.0), value + step
