"""One key from a link that changes while it is used: a satellite pass, or a day.

All that is received between start and stop is one block with one key, at settings that stay the
same. Slots with much loss or background light bring more errors and multi-photon pulses than bits,
so the best start and stop leave them out.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError
from qdchar.files import PathLike, read_text
from qdchar.link import Link

from .assumptions import prediction_assumptions
from .link_parameters import LinkParameters
from .optimise import LIGHT_EFFORT, Rows, maximise
from .photon_statistics import multiphoton_probability
from .result import PHASE, Protocol
from .single_photon.finite_key import Accounting, BasisCounts, SinglePhotonKey, key_from_counts
from .single_photon.rate import SEARCH_LOWER, SEARCH_UPPER, detection, expected_counts
from .source import SourceFigures

Floats = NDArray[np.float64]

# Starts and stops of a window that are tried in one go, and the rounds of settings and windows.
_EDGES = 40
_ROUNDS = 4
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
    time, loss = (np.asarray(x, dtype=np.float64) for x in (time_s, loss_dB))
    background = None if background_Hz is None else np.asarray(background_Hz, dtype=np.float64)
    _check(time, loss, background)
    width = np.append(np.diff(time), time[-1] - time[-2])
    block = _Block(source, link, width, loss, background, protocol, accounting, eps_source)
    slots = len(time)
    everything, settings = block.best(0, slots)
    nearest = np.flatnonzero(loss <= loss.min() + 3)
    tried = [
        block.window(*settings),
        block.window(*block.best(int(nearest[0]), int(nearest[-1]) + 1)[1]),
    ]
    best = everything
    first, last = 0, slots
    for window in dict.fromkeys(tried):
        for _ in range(_ROUNDS):
            key, settings = block.best(*window)
            if float(key.key_length) > float(best.key_length):
                best, (first, last) = key, window
            following = block.window(*settings)
            if following == window:
                break
            window = following
    return KeyOverTime(
        protocol=protocol,
        accounting=accounting,
        start_s=float(time[first]),
        stop_s=float(time[last - 1] + width[last - 1]),
        key_length=float(np.floor(best.key_length)),
        key_length_of_all=float(np.floor(everything.key_length)),
        pulses_sent=float(best.pulses_sent),
        p_z=float(best.p_z),
        attenuation=float(best.attenuation),
        qber=float(best.qber),
        phase_error=float(best.phase_error),
        eps_source=eps_source,
        assumptions=prediction_assumptions(accounting, link.receiver, eps_source),
    )


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


class _Block:
    """Counts of the slots, and the key of any row of them."""

    def __init__(
        self,
        source: SourceFigures,
        link: Link,
        width: Floats,
        loss: Floats,
        background: Floats | None,
        protocol: Protocol,
        accounting: Accounting,
        eps_source: float | None,
    ) -> None:
        clock = source.clock_rate.value
        self._n, self._g2 = source.mean_photon_number.value, source.g2_zero.value
        margin = 0.0
        if eps_source is not None:
            source.check_uncertain()
            margin = source.multiphoton_margin(eps_source)
        self._p2 = float(multiphoton_probability(self._n, self._g2)) + margin
        self._sent = clock * width
        self._given = LinkParameters.from_link(link, loss, clock, background)
        self._security = LinkParameters.from_link(link, 0.0, clock)
        self._phase, self._accounting = PHASE[protocol], accounting

    def best(self, first: int, last: int) -> tuple[SinglePhotonKey, tuple[float, float]]:
        """Key of the slots from `first` to before `last` at its best settings, and these."""

        def key(x: Floats) -> SinglePhotonKey:
            p_z, a = 1 / (1 + np.exp(-x[..., 0])), 10 ** x[..., 1]
            counts, sent = self._per_slot(p_z, a, slice(first, last))
            return self._key(counts.sum(axis=-1), sent.sum(), p_z, a)

        def score(x: Floats, rows: Rows) -> Floats:
            return key(x).score

        start = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, -0.5]])
        x = maximise(score, 1, SEARCH_LOWER, SEARCH_UPPER, LIGHT_EFFORT, known=start)[0]
        found = key(x)
        return found, (float(found.p_z), float(found.attenuation))

    def window(self, p_z: float, attenuation: float) -> tuple[int, int]:
        """Slots whose key is longest at these settings: the first, and that after the last."""
        counts, sent = self._per_slot(np.asarray(p_z), np.asarray(attenuation), slice(None))
        slots = len(sent)
        until = np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=-1)], axis=-1)
        sent_until = np.append(0.0, sent.cumsum())

        def longest(starts: Floats, stops: Floats) -> tuple[int, int]:
            i, j = (a.ravel() for a in np.meshgrid(starts, stops, indexing="ij"))
            i, j = i[i < j].astype(int), j[i < j].astype(int)
            key = self._key(
                until[:, j] - until[:, i],
                sent_until[j] - sent_until[i],
                np.asarray(p_z),
                np.asarray(attenuation),
            )
            some = key.key_length > 0
            best = int(np.where(some, key.key_length, key.score).argmax())
            return int(i[best]), int(j[best])

        step = max(slots // _EDGES, 1)
        grid = np.unique(np.append(np.arange(0, slots, step), slots))
        first, last = longest(grid, grid)
        near = np.arange(-step, step + 1)
        fine = [np.unique((edge + near).clip(0, slots)) for edge in (first, last)]
        return longest(fine[0], fine[1])

    def _per_slot(self, p_z: Floats, a: Floats, slots: slice) -> tuple[Floats, Floats]:
        """Return expected counts in the order of `BasisCounts`, slots last, and pulses sent."""
        given = self._given.at(slots)
        p_z, a = p_z[..., None], a[..., None]
        p_z_bob = given.bob(p_z)
        clicks = detection(a * self._n, self._g2, p_z_bob, given)
        sent = self._sent[slots]
        counts = expected_counts(clicks, sent, p_z, p_z_bob)
        each = [getattr(counts, f.name) for f in fields(BasisCounts)]
        return np.stack(np.broadcast_arrays(*each)), sent

    def _key(self, counts: Floats, sent: ArrayLike, p_z: Floats, a: Floats) -> SinglePhotonKey:
        whole = BasisCounts(**dict(zip((f.name for f in fields(BasisCounts)), counts, strict=True)))
        return key_from_counts(
            whole,
            np.asarray(sent, dtype=np.float64),
            np.asarray(a**2 * self._p2),
            p_z,
            a,
            self._security,
            self._phase,
            self._accounting,
        )


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
