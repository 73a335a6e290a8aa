"""One key from a link that changes while it is used: a satellite pass, or a day.

All that is received between start and stop is one block with one key, at settings that stay the
same. Slots with much loss or background light bring more errors and multi-photon pulses than bits,
so the best start and stop leave them out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Uncertain, propagate
from qdchar.files import PathLike, read_text
from qdchar.link import Link

from .assumptions import prediction_assumptions
from .comparators import same_protocol
from .decoy.coherent_bounds import CoherentBounds, elementary_eps
from .decoy.coherent_finite import SEARCH_LOWER as COHERENT_LOWER
from .decoy.coherent_finite import SEARCH_UPPER as COHERENT_UPPER
from .decoy.coherent_finite import TYPICAL, coherent_settings
from .decoy.coherent_finite import expected_counts as coherent_counts
from .decoy.finite_key import DecoyCounts, DecoyKey, decoy_key
from .derivatives import Response, derivatives
from .link_parameters import LinkParameters
from .optimise import LIGHT_EFFORT, Effort, Rows, maximise
from .photon_statistics import multiphoton_probability
from .result import PHASE, Protocol, advantage_dB
from .single_photon.finite_key import (
    Accounting,
    BasisCounts,
    Phase,
    SinglePhotonKey,
    key_from_counts,
)
from .single_photon.rate import SEARCH_LOWER, SEARCH_UPPER, detection, expected_counts
from .source import SourceFigures
from .time_windows import BestWindow, Block, best_window

Floats = NDArray[np.float64]

# Slots are joined to so many for the search of coherent light's settings.
_GROUPS = 40
_FIRST = Effort(samples=256, starts=2, steps=5, last_steps=3)
_NEXT = Effort(samples=1, starts=0, steps=3, last_steps=1)
_COLUMNS = ("time_s", "loss_dB", "background_Hz")


@dataclass(frozen=True)
class KeyOverTime:
    """Key of a time-dependent link.

    Attributes
    ----------
    protocol, accounting
        As in `qdchar.keyrate.KeyRate`.
    start_s, stop_s
        Best times to start and to stop.
    key_length
        Secret bits between them.
    key_length_of_all
        Secret bits if everything is used, at the best settings for that.
    pulses_sent, p_z, attenuation, qber, phase_error
        Of the block between start and stop.
    eps_source
        Failure probability of the source's limits; None where its best estimates are used.
    assumptions
        What the key assumes, in sentences.
    budget
        Contributions of source and link to the uncertainty of the key length, with settings and
        window held; the losses are taken as they are given.
    """

    protocol: Protocol
    accounting: Accounting
    start_s: float
    stop_s: float
    key_length: float
    key_length_of_all: float
    pulses_sent: float
    p_z: float
    attenuation: float
    qber: float
    phase_error: float
    eps_source: float | None
    assumptions: tuple[str, ...]
    budget: tuple[Contribution, ...]

    @property
    def key_length_u(self) -> float:
        """Standard uncertainty of the key length from source and link."""
        return Uncertain(self.key_length, self.budget).u


def predict_over_time(
    source: SourceFigures,
    link: Link,
    time_s: ArrayLike,
    loss_dB: ArrayLike,
    background_Hz: ArrayLike | None = None,
    *,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    eps_source: float | None = None,
) -> KeyOverTime:
    """Predict the key of a link whose loss and background light change.

    Parameters
    ----------
    source, link
        The link's loss and block are not used; its background only without `background_Hz`.
    time_s
        Beginnings of the slots, rising, shape (slots,) [s]. The last is as long as that before it.
    loss_dB, background_Hz
        Channel loss [dB], and background counts of all detectors [Hz], of each slot.
    protocol, accounting, eps_source
        As in `qdchar.keyrate.predict`.

    Raises
    ------
    UsageError
        Fewer than two slots, times that do not rise, a loss or a background below 0.
    """
    slots = _Slots.of(time_s, loss_dB, background_Hz)
    block = _SinglePhotons.of(source, link, slots, protocol, accounting, eps_source)
    found = best_window(block, slots.loss_dB)
    best = found.key

    def length(n: float, g2: float, given: LinkParameters) -> Floats:
        changed = replace(block, n=n, g2=g2, given=given)
        return changed.of_window(found.first, found.last, found.settings).key_length

    return KeyOverTime(
        protocol=protocol,
        accounting=accounting,
        **slots.times(found),
        key_length=float(np.floor(best.key_length)),
        key_length_of_all=float(np.floor(found.key_of_all.key_length)),
        pulses_sent=float(best.pulses_sent),
        p_z=float(best.p_z),
        attenuation=float(best.attenuation),
        qber=float(best.qber),
        phase_error=float(best.phase_error),
        eps_source=eps_source,
        assumptions=prediction_assumptions(accounting, link.receiver, eps_source),
        budget=slots.budget(source, link, length),
    )


@dataclass(frozen=True)
class CoherentOverTime:
    """Key of coherent light with the same protocol on a time-dependent link.

    Attributes
    ----------
    name
        Of the comparator, see `qdchar.keyrate.comparators`.
    start_s, stop_s
        Its own best times to start and to stop.
    key_length, key_length_of_all
        Secret bits between them, and if everything is used.
    budget
        As in `KeyOverTime`.
    """

    name: str
    start_s: float
    stop_s: float
    key_length: float
    key_length_of_all: float
    budget: tuple[Contribution, ...]


def coherent_over_time(
    source: SourceFigures,
    link: Link,
    time_s: ArrayLike,
    loss_dB: ArrayLike,
    background_Hz: ArrayLike | None = None,
    *,
    protocol: Protocol = "efficient-bb84",
) -> CoherentOverTime:
    """Predict the key of coherent light with the same protocol, vacuum + weak decoy.

    Parameters
    ----------
    source
        Its clock rate is that of the coherent light, too.
    link, time_s, loss_dB, background_Hz, protocol
        As in `predict_over_time`, with the same exceptions.
    """
    slots = _Slots.of(time_s, loss_dB, background_Hz)
    block = _CoherentLight.of(source, link, slots, protocol)
    found = best_window(block, slots.loss_dB)

    def length(_n: float, _g2: float, given: LinkParameters) -> Floats:
        changed = replace(block, given=block.sending(given))
        return changed.of_window(found.first, found.last, found.settings).key_length

    return CoherentOverTime(
        name=same_protocol(protocol, "sent"),
        **slots.times(found),
        key_length=float(np.floor(found.key.key_length)),
        key_length_of_all=float(np.floor(found.key_of_all.key_length)),
        budget=slots.budget(source, link, length),
    )


def lead_over_time(key: KeyOverTime, light: CoherentOverTime) -> Uncertain | None:
    """Return the key's lead over that of coherent light [dB]; None where one of them has no key.

    What source and link are uncertain by changes both keys alike where both depend on it.
    """
    lead = advantage_dB(key.key_length, light.key_length)
    if lead is None:
        return None
    lengths = [Uncertain(k.key_length, k.budget) for k in (key, light)]
    slopes = [
        sign * 10.0 / math.log(10.0) / x.value for sign, x in zip((1, -1), lengths, strict=True)
    ]
    return Uncertain(lead, propagate(zip(lengths, slopes, strict=True)))


def read_pass(path: PathLike) -> tuple[Floats, Floats, Floats | None]:
    """Read times, losses and background counts, the last None where the file has no such column.

    Parameters
    ----------
    path
        CSV with the header ``time_s,loss_dB`` or ``time_s,loss_dB,background_Hz``.

    Raises
    ------
    UsageError
        The file cannot be read, lacks a column, or holds what is not a number.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    try:
        rows = [row for row in csv.reader(lines) if row]
    except csv.Error as error:
        raise UsageError(f"--pass {path}: cannot be read as CSV: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if not {"time_s", "loss_dB"} <= set(header) <= set(_COLUMNS):
        raise UsageError(
            f"--pass {path}: the first line is {','.join(header)!r}; it must be "
            "time_s,loss_dB or time_s,loss_dB,background_Hz"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header) or not all(_is_number(cell) for cell in row):
            raise UsageError(f"--pass {path}: row {number} is not {len(header)} numbers: {row}")
    table = np.array([[float(cell) for cell in row] for row in rows[1:]])
    table = table.reshape(-1, len(header))
    column = {name: table[:, i] for i, name in enumerate(header)}
    return column["time_s"], column["loss_dB"], column.get("background_Hz")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Slots:
    """Beginnings, lengths, losses and background counts of the slots."""

    time_s: Floats
    width_s: Floats
    loss_dB: Floats
    background_Hz: Floats | None

    @classmethod
    def of(cls, time_s: ArrayLike, loss_dB: ArrayLike, background_Hz: ArrayLike | None) -> _Slots:
        time, loss = (np.asarray(x, dtype=np.float64) for x in (time_s, loss_dB))
        background = None if background_Hz is None else np.asarray(background_Hz, dtype=np.float64)
        _check(time, loss, background)
        return cls(time, np.append(np.diff(time), time[-1] - time[-2]), loss, background)

    def times(self, found: BestWindow[Any]) -> dict[str, float]:
        """When a window starts and stops, as the results name it."""
        last = found.last - 1
        return {
            "start_s": float(self.time_s[found.first]),
            "stop_s": float(self.time_s[last] + self.width_s[last]),
        }

    def budget(
        self, source: SourceFigures, link: Link, length: Response
    ) -> tuple[Contribution, ...]:
        """Return what the uncertain inputs contribute to a key length."""
        found = derivatives(
            source, link, self.loss_dB, length, own_loss=False, background_Hz=self.background_Hz
        )
        return propagate((estimate, float(slope)) for estimate, slope in found)


@dataclass(frozen=True)
class _SinglePhotons(Block[SinglePhotonKey]):
    """Single photons without decoy states; settings are those of `best_single_photon_key`.

    Attributes
    ----------
    n, g2, margin
        Light of the source; `margin` is what its limit of p2 lies above the best estimate.
    sent
        Pulses in each slot.
    given, security
        The link in each slot; the constants of the proof.
    phase, accounting
        Protocol, and how its key is counted.
    """

    n: float
    g2: float
    margin: float
    sent: Floats
    given: LinkParameters
    security: LinkParameters
    phase: Phase
    accounting: Accounting

    @classmethod
    def of(
        cls,
        source: SourceFigures,
        link: Link,
        slots: _Slots,
        protocol: Protocol,
        accounting: Accounting,
        eps_source: float | None,
    ) -> _SinglePhotons:
        clock = source.clock_rate.value
        margin = 0.0
        if eps_source is not None:
            source.check_uncertain()
            margin = source.multiphoton_margin(eps_source)
        return cls(
            n=source.mean_photon_number.value,
            g2=source.g2_zero.value,
            margin=margin,
            sent=clock * slots.width_s,
            given=LinkParameters.from_link(link, slots.loss_dB, clock, slots.background_Hz),
            security=LinkParameters.from_link(link, 0.0, clock),
            phase=PHASE[protocol],
            accounting=accounting,
        )

    @property
    def slots(self) -> int:
        return len(self.sent)

    def of_window(self, first: int, last: int, x: Floats) -> SinglePhotonKey:
        window = slice(first, last)
        sent = self.sent[window]
        return self.key(self._counts(x, self.given.at(window), sent).sum(axis=-1), sent.sum(), x)

    def best(
        self, first: int, last: int, near: Floats | None = None
    ) -> tuple[SinglePhotonKey, Floats]:
        def score(x: Floats, rows: Rows) -> Floats:
            return self.of_window(first, last, x).score

        start = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, -0.5]])
        x = maximise(score, 1, SEARCH_LOWER, SEARCH_UPPER, LIGHT_EFFORT, known=start)[0]
        return self.of_window(first, last, x), x

    def per_slot(self, settings: Floats) -> tuple[Floats, Floats]:
        return self._counts(settings, self.given, self.sent), self.sent

    def _counts(self, x: Floats, given: LinkParameters, sent: Floats) -> Floats:
        """Return expected counts in the order of `BasisCounts`, slots last."""
        p_z, a = (v[..., None] for v in _single_photon_settings(x))
        p_z_bob = given.bob(p_z)
        clicks = detection(a * self.n, self.g2, p_z_bob, given)
        counts = expected_counts(clicks, sent, p_z, p_z_bob)
        each = [getattr(counts, f.name) for f in fields(BasisCounts)]
        return np.stack(np.broadcast_arrays(*each))

    def key(self, counts: Floats, sent: ArrayLike, settings: Floats) -> SinglePhotonKey:
        p_z, a = _single_photon_settings(settings)
        p2 = multiphoton_probability(self.n, self.g2) + self.margin
        return key_from_counts(
            BasisCounts(*counts),
            np.asarray(sent, dtype=np.float64),
            np.asarray(a**2 * p2),
            p_z,
            a,
            self.security,
            self.phase,
            self.accounting,
        )


def _single_photon_settings(x: Floats) -> tuple[Floats, Floats]:
    return np.asarray(1 / (1 + np.exp(-x[..., 0]))), np.asarray(10 ** x[..., 1])


@dataclass(frozen=True)
class _CoherentLight(Block[DecoyKey]):
    """Coherent light, vacuum + weak decoy; settings are those of `coherent_settings`.

    Attributes
    ----------
    sent
        Pulses in each slot.
    given, security
        The link in each slot, see `sending`; the constants of the proof.
    phase
        Of the protocol.
    """

    sent: Floats
    given: LinkParameters
    security: LinkParameters
    phase: Phase

    @classmethod
    def of(
        cls, source: SourceFigures, link: Link, slots: _Slots, protocol: Protocol
    ) -> _CoherentLight:
        clock = source.clock_rate.value
        given = LinkParameters.from_link(link, slots.loss_dB, clock, slots.background_Hz)
        block = cls(
            sent=clock * slots.width_s,
            given=given,
            security=LinkParameters.from_link(link, 0.0, clock),
            phase=PHASE[protocol],
        )
        return replace(block, given=block.sending(given))

    def sending(self, given: LinkParameters) -> LinkParameters:
        """Let each slot of a link have the pulses that are sent in it."""
        return replace(given, block_kind="sent", block=self.sent)

    @property
    def slots(self) -> int:
        return len(self.sent)

    def of_window(self, first: int, last: int, x: Floats) -> DecoyKey:
        window = slice(first, last)
        return self._of(x, self.given.at(window), self.sent[window].sum())

    def _of(self, x: Floats, given: LinkParameters, sent: float) -> DecoyKey:
        return self.key(self._counts(x, given).sum(axis=-1), sent, x)

    def best(self, first: int, last: int, near: Floats | None = None) -> tuple[DecoyKey, Floats]:
        window = slice(first, last)
        few = _grouped(self.given.at(window))
        sent = self.sent[window].sum()

        def score(x: Floats, rows: Rows) -> Floats:
            return self._of(x, few, sent).score

        effort, known = (_FIRST, TYPICAL) if near is None else (_NEXT, near[None])
        x = maximise(score, 1, COHERENT_LOWER, COHERENT_UPPER, effort, known=known)[0]
        return self.of_window(first, last, x), x

    def per_slot(self, settings: Floats) -> tuple[Floats, Floats]:
        return self._counts(settings, self.given), self.sent

    def _counts(self, x: Floats, given: LinkParameters) -> Floats:
        """Return counts in the order of `DecoyCounts`, for signal, weak and vacuum, slots last."""
        settings = coherent_settings(x[..., None, :], "vacuum+weak")
        counts, _ = coherent_counts(settings, given)
        each = [getattr(counts, f.name) for f in fields(DecoyCounts)]
        return np.stack(np.broadcast_arrays(*each))

    def key(self, counts: Floats, sent: ArrayLike, settings: Floats) -> DecoyKey:
        made = coherent_settings(settings, "vacuum+weak")
        if counts.ndim > 1 + made.light.mean.ndim:  # windows after the settings
            made = coherent_settings(settings[..., None, :], "vacuum+weak")
        bounds = CoherentBounds(made.light, elementary_eps(self.security))
        sent = np.asarray(sent, dtype=np.float64)
        return decoy_key(DecoyCounts(*counts), sent, made.p_z, bounds, self.security, self.phase)


def _grouped(given: LinkParameters) -> LinkParameters:
    """Join neighbouring slots, for a quick search: its optimum is flat."""
    starts = np.unique(np.linspace(0, len(given.block), _GROUPS, endpoint=False).astype(int))
    sent = np.add.reduceat(given.block, starts)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values * given.block, starts) / sent)

    parts: Any = {
        name: mean(getattr(given, name))
        for name in ("eta", "p_dark", "p_background", "e_mis", "busy_z", "busy_x")
        if getattr(given, name).size > 1
    }
    return replace(given, block=sent, **parts)


def _check(time: Floats, loss: Floats, background: Floats | None) -> None:
    tests: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("at least two slots of time are needed", lambda: time.ndim == 1 and len(time) >= 2),
        ("times must rise", lambda: bool(np.all(np.diff(time) > 0))),
        ("one loss for each time", lambda: loss.shape == time.shape),
        ("losses are 0 dB or more", lambda: bool(np.all(np.isfinite(loss) & (loss >= 0)))),
        (
            "one background for each time, 0 Hz or more",
            lambda: (
                background is None
                or (
                    background.shape == time.shape
                    and bool(np.all(np.isfinite(background) & (background >= 0)))
                )
            ),
        ),
    )
    for message, holds in tests:
        if not holds():
            raise UsageError(f"key over time: {message}")
