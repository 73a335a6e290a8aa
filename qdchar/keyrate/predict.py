"""Predict the key of a source on a link, with its uncertainty, beside coherent light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.link import Link

from .assumptions import prediction_assumptions
from .comparators import COMPARATORS, Light, comparators_for, same_protocol
from .derivatives import Response, derivatives
from .link_parameters import BlockKind, LinkParameters
from .operating_point import (
    OperatingPoint,
    attenuator_operating_point,
    single_photon_operating_point,
)
from .photon_statistics import largest_three_photon
from .result import PHASE, Comparison, DecoyProtocol, KeyRate, Protocol, advantage_dB
from .single_photon.finite_key import Accounting
from .source import SourceFigures

Floats = NDArray[np.float64]

_DB = 10 / math.log(10)

# Clicks per second at which even a dead time of 5 ns, shorter than any in use, costs a tenth.
_NEEDS_DEAD_TIME_HZ = 20e6

# One photon in 1e100 pulses; beyond, powers of ten overflow.
_LARGEST_LOSS_DB = 1000.0


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
        Which multi-photon pulses are given up: "alice" all those that Alice prepares in a basis,
        "joint" those that Bob also detects in it. Both need Bob's basis choice to be independent
        of the signal; see `qdchar.keyrate.single_photon.finite_key`.
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
        finite-key protocols need a block. That of the same protocol comes first.

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
    _check_options(protocol, accounting, p_z, attenuation)
    _check_eps_source(eps_source, source)
    given = LinkParameters.from_link(link, losses, source.clock_rate.value)
    margin = source.multiphoton_margin(eps_source) if eps_source is not None else 0.0
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    best = single_photon_operating_point(
        n, g2, given, PHASE[protocol], accounting, p_z, attenuation, margin
    )
    return _assemble(
        protocol, accounting, source, link, losses, best, eps_source, comparators, loss_dB is None
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

    The proof and its assumptions stand in `qdchar.keyrate.decoy.attenuated_source`.

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
    largest_p3 = float(largest_three_photon(n, g2))
    if not 0 <= p3_max <= largest_p3:
        raise UsageError(
            f"key rate: p3_max = {p3_max!r}: must be between 0 and g2 <n>^2 / 6 = "
            f"{largest_p3:.3g}; above it, the probability of two photons is negative"
        )
    if link.block_kind == "asymptotic" and (
        protocol != "efficient-bb84-decoy" or eps_source is not None
    ):
        what = protocol if eps_source is None else "eps_source with decoy states"
        raise UsageError(f"key rate: {what} needs a block")
    _check_eps_source(eps_source, source)
    limits = () if eps_source is None else source.limits(eps_source)
    given = LinkParameters.from_link(link, losses, source.clock_rate.value)
    best = attenuator_operating_point(n, g2, given, phases[protocol], p3_max, limits)
    return _assemble(
        protocol, "decoy", source, link, losses, best, eps_source, comparators, loss_dB is None
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
            not np.all((losses >= 0) & (losses <= _LARGEST_LOSS_DB)),
            f"a loss is 0 dB or more (positive means weaker), at most {_LARGEST_LOSS_DB:g} dB",
        ),
        (
            block is not None and not 1 <= block <= 1e30,
            "a block is a number of pulses: at least 1, at most 1e30",
        ),
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
    best: OperatingPoint,
    eps_source: float | None,
    comparators: Sequence[str] | None,
    own_loss: bool,
) -> tuple[KeyRate, ...]:
    """Add the uncertainty and the comparators to the best settings."""
    given = LinkParameters.from_link(link, losses, source.clock_rate.value)
    rate_derivatives = derivatives(source, link, losses, best.rate_at, own_loss=own_loss)
    like = same_protocol(protocol, link.block_kind)
    names = sorted(_asked(comparators, given.block_kind), key=lambda name: name != like)
    others = {name: COMPARATORS[name].best(given) for name in names}
    light_derivatives = {
        name: derivatives(source, link, losses, _of_link(light), own_loss=own_loss)
        for name, light in others.items()
    }
    clock = source.clock_rate.value
    finite = link.block_kind != "asymptotic"
    clicks_hz = _detector_rates(best, link, clock)
    assumptions = prediction_assumptions(accounting, link.receiver, eps_source)
    return tuple(
        KeyRate(
            protocol=protocol,
            accounting=accounting,
            block=link.block,
            block_kind=link.block_kind,
            comparator_name=like,
            loss_dB=float(losses[i]),
            rate_per_pulse=float(best.rate[i]),
            budget=propagate(
                [(estimate, float(derivative[i])) for estimate, derivative in rate_derivatives]
            ),
            rate_bps=float(best.rate[i]) * clock,
            p_z=float(best.p_z[i]),
            attenuation=float(best.attenuation[i]),
            qber=float(best.qber[i]),
            phase_error=float(best.phase_error[i]),
            gain=float(best.gain[i]),
            detector_rate_hz=float(clicks_hz[i]),
            p2=float(best.p2_given_up[i]),
            eps_source=eps_source,
            key_length=float(best.key_length[i]) if finite else None,
            pulses_sent=float(best.pulses_sent[i]) if finite else None,
            acquisition_time_s=float(best.pulses_sent[i]) / clock if finite else None,
            comparators=tuple(
                _compare(name, best, rate_derivatives, light, light_derivatives[name], i)
                for name, light in others.items()
            ),
            assumptions=assumptions,
            decoy=None if best.decoy is None else best.decoy[i],
        )
        for i in range(len(losses))
    )


def _detector_rates(best: OperatingPoint, link: Link, clock: float) -> Floats:
    """Clicks per second of the busiest detector at each loss.

    Raises
    ------
    UsageError
        There are so many that the dead time, which is not given, decides about the rate.
    """
    rates = np.asarray(clock * best.busiest)
    most = float(rates.max())
    if link.dead_time.value == 0 and most > _NEEDS_DEAD_TIME_HZ:
        raise UsageError(
            f"key rate: a detector would click {most / 1e6:.3g} million times a second, and the "
            "link gives no dead time; give dead_time in the link file (20 ns to 100 ns are usual)"
        )
    return rates


def _of_link(light: Light) -> Response:
    return lambda n, g2, given: light.rate_at(given)


def _compare(
    name: str,
    best: OperatingPoint,
    rate_derivatives: Sequence[tuple[Estimate, Floats]],
    light: Light,
    light_derivatives: Sequence[tuple[Estimate, Floats]],
    i: int,
) -> Comparison:
    """Source and coherent light at the i-th loss; what both share moves the ratio by what it must.

    The advantage is 10 log10(R / W), its derivative (10 / ln 10) (dR / R - dW / W).
    """
    rate, other = float(best.rate[i]), float(light.rate[i])
    advantage = advantage_dB(rate, other)
    budget: tuple[Contribution, ...] = ()
    if advantage is not None:
        budget = propagate(
            (estimate, _DB * (float(up[i]) / rate - float(down[i]) / other))
            for (estimate, up), (_, down) in zip(rate_derivatives, light_derivatives, strict=True)
        )
    return Comparison(name, other, advantage, budget)


def _asked(names: Sequence[str] | None, block_kind: BlockKind) -> Sequence[str]:
    """Return the comparators that were asked for, or all that are defined."""
    defined = comparators_for(block_kind)
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
) -> None:
    for wrong, message in (
        (protocol not in PHASE, f"protocol {protocol!r}: allowed is {' or '.join(PHASE)}"),
        (accounting not in ("alice", "joint"), f"accounting {accounting!r}: alice or joint"),
        (p_z is not None and not 0 < p_z < 1, "p_z is more than 0 and less than 1"),
        (
            attenuation is not None and not 0 < attenuation <= 1,
            "attenuation is a transmission: more than 0, at most 1",
        ),
    ):
        if wrong:
            raise UsageError(f"key rate: {message}")


def _check_eps_source(eps_source: float | None, source: SourceFigures) -> None:
    if eps_source is None:
        return
    if not 0 < eps_source < 0.5:
        raise UsageError(
            "key rate: eps_source is a failure probability: more than 0, less than 0.5"
        )
    source.check_uncertain()
