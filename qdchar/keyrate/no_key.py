"""Why a prediction is zero, and what would lift it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdchar.link import Link

from .decoy.attenuated_source_finite import best_attenuator_key
from .link_parameters import LinkParameters
from .optimise import LIGHT_EFFORT
from .result import PHASE, KeyRate
from .single_photon.rate import best_single_photon_key
from .source import SourceFigures

Floats = NDArray[np.float64]

# Factors on a parameter that are tried: first over six decades, then between two of these.
_COARSE = 10 ** -np.linspace(0.25, 6, 24)
_FINE = 9


@dataclass(frozen=True)
class Lift:
    """One change that gives a key, everything else as it is.

    Attributes
    ----------
    name
        What is changed.
    value, limit
        Where it stands, and the value nearest to that with which there is a key.
    unit
        Of both.
    """

    name: str
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        most = "at least" if self.name == "block" else "at most"
        return (
            f"there is one with {self.name} of {most} {self.limit:.3g}{unit} "
            f"(is {self.value:.3g}{unit}), everything else as it is"
        )


@dataclass(frozen=True)
class NoKey:
    """Why there is no key.

    Attributes
    ----------
    term
        The term of the key length that is too small or too large, in a sentence.
    lifts
        Changes each of which alone gives a key, the smallest first; empty where none does.
    """

    term: str
    lifts: tuple[Lift, ...]


def why_no_key(point: KeyRate, source: SourceFigures, link: Link) -> NoKey:
    """Say which term made a rate zero, and which single changes would lift it.

    Parameters
    ----------
    point
        A prediction with a rate of 0.
    source, link
        What it was predicted from.
    """
    on_link = link.model_copy(update={"block": point.block, "block_kind": point.block_kind})
    clock = source.clock_rate.value
    given = LinkParameters.from_link(on_link, point.loss_dB, clock)
    rate = _rate(point)
    lifts = []
    for name, value, unit, change in _changes(point, source, on_link):
        if value == 0:
            continue
        n, g2 = source.mean_photon_number.value, source.g2_zero.value
        low, high = 0.0, 1.0
        factors = _COARSE
        for _ in range(3):
            tried = [change(given, g2, float(f)) for f in factors]
            keyed = np.flatnonzero(rate(n, tried) > 0)
            if not len(keyed):
                break
            best = int(keyed[0])
            low, high = float(factors[best]), float(factors[best - 1]) if best else high
            factors = np.geomspace(high, low, _FINE + 2)[1:-1]
        if low > 0:
            limit = point.loss_dB * low if name == "loss" else value * low
            if name == "block":
                limit = value / low
            lifts.append((low, Lift(name, value, limit, unit)))
    ordered = tuple(lift for _, lift in sorted(lifts, key=lambda pair: -pair[0]))
    return NoKey(_term(point), ordered)


_Change = Callable[[LinkParameters, float, float], tuple[LinkParameters, float]]


def _changes(
    point: KeyRate, source: SourceFigures, link: Link
) -> list[tuple[str, float, str, _Change]]:
    """Name, value and unit of what can be changed, and how a factor changes it."""

    def eta(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return replace(given, eta=given.eta * 10 ** (point.loss_dB * (1 - f) / 10)), g2

    def block(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return replace(given, block=given.block / f), g2

    def dark(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return replace(given, p_dark=given.p_dark * f), g2

    def background(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return replace(given, p_background=given.p_background * f), g2

    def misalignment(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return replace(given, e_mis=given.e_mis * f), g2

    def pairs(given: LinkParameters, g2: float, f: float) -> tuple[LinkParameters, float]:
        return given, g2 * f

    endless = point.block_kind == "asymptotic"
    return [
        ("loss", point.loss_dB, "dB", eta),
        ("dark counts", link.dark_count_rate.value, "Hz", dark),
        ("background counts", link.background_count_rate.value, "Hz", background),
        ("misalignment", link.misalignment.value, "1", misalignment),
        ("g2(0)", source.g2_zero.value, "1", pairs),
        ("block", 0.0 if endless else point.block, f"{point.block_kind} pulses", block),
    ]


def _rate(point: KeyRate) -> Callable[[float, list[tuple[LinkParameters, float]]], Floats]:
    def rate(n: float, tried: list[tuple[LinkParameters, float]]) -> Floats:
        first = tried[0][0]
        changed: dict[str, Any] = {
            name: np.array([float(getattr(g, name)) for g, _ in tried])
            for name in ("eta", "p_dark", "p_background", "e_mis", "block")
        }
        given = replace(first, **changed)
        g2 = np.array([g for _, g in tried])
        if point.accounting == "decoy":
            phase = PHASE[point.protocol.removesuffix("-decoy")]
            return best_attenuator_key(n, g2, given, phase=phase, effort=LIGHT_EFFORT)[0].rate
        return best_single_photon_key(
            n, g2, given, PHASE[point.protocol], point.accounting, effort=LIGHT_EFFORT
        ).rate

    return rate


def _term(point: KeyRate) -> str:
    if point.gain <= 0:
        return "nothing is detected"
    if point.phase_error >= 0.5:
        return (
            "the phase error cannot be bounded below 1/2: in the test basis there are too few "
            "detections that surely come from single photons, or too many errors among them"
        )
    if point.qber >= 0.11:
        return "error correction needs more bits than are secret: the error rate is too high"
    return (
        "error correction and multi-photon pulses take more bits than the phase error leaves secret"
    )
