"""Which sources beat coherent light at a given loss: map and boundary."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.link import Link

from .comparators import COMPARATORS
from .link_parameters import LinkParameters
from .optimise import LIGHT_EFFORT
from .result import PHASE, Protocol
from .single_photon.finite_key import Accounting
from .single_photon.rate import best_single_photon_key

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AdvantageMap:
    """Advantage over a plane of sources at one loss.

    Attributes
    ----------
    n, g2
        Axes, shapes (columns,) and (rows,).
    loss_dB
        Channel loss.
    comparator
        Name of the protocol for coherent light.
    rate
        Secret bits per pulse of the source, shape (rows, columns); 0 where there is no key, NaN
        where no source of at most two photons has this <n> and g2.
    advantage_dB
        Over the comparator; -inf where there is no key, NaN as in `rate`.
    """

    n: Floats
    g2: Floats
    loss_dB: float
    comparator: str
    rate: Floats
    advantage_dB: Floats


def advantage_map(
    n: ArrayLike,
    g2: ArrayLike,
    link: Link,
    *,
    loss_dB: float,
    comparator: str,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    clock_rate_hz: float | None = None,
    executor: Executor | None = None,
) -> AdvantageMap:
    """Advantage over coherent light for every source of a grid.

    Parameters
    ----------
    n, g2
        Axes of mean photon number and g2.
    link
        The link; its loss is replaced by `loss_dB`.
    loss_dB
        Channel loss.
    comparator
        Name of the protocol for coherent light.
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    clock_rate_hz
        Pulses sent per second [Hz]; needed where the link has a dead time.
    executor
        Runs the rows; any `concurrent.futures` executor.
    """
    columns, rows = (np.asarray(a, dtype=np.float64).ravel() for a in (n, g2))
    given = LinkParameters.from_link(link, loss_dB, clock_rate_hz)
    blocks = np.array_split(rows, max(len(rows) // 10, 1))
    count = len(blocks)
    run = map if executor is None else executor.map
    rate = np.concatenate(
        list(
            run(
                _map_rows,
                blocks,
                [columns] * count,
                [given] * count,
                [protocol] * count,
                [accounting] * count,
            )
        )
    )
    other = float(COMPARATORS[comparator].rate(given))
    advantage = np.full_like(rate, -np.inf)
    advantage[np.isnan(rate)] = np.nan
    key = rate > 0
    with np.errstate(divide="ignore"):
        advantage[key] = 10 * (np.log10(rate[key]) - np.log10(other))
    return AdvantageMap(columns, rows, loss_dB, comparator, rate, advantage)


def _map_rows(
    g2: Floats, n: Floats, given: LinkParameters, protocol: Protocol, accounting: Accounting
) -> Floats:
    """Best rates of some rows of a map."""
    columns, rows = np.broadcast_arrays(n[None, :], g2[:, None])
    possible = (rows * columns <= 1) & (columns - rows * columns**2 / 2 <= 1)
    rate = np.full(rows.shape, np.nan)
    rate[possible] = _light_rate(columns[possible], rows[possible], given, protocol, accounting)
    return rate


def _light_rate(
    n: Floats, g2: Floats, given: LinkParameters, protocol: Protocol, accounting: Accounting
) -> Floats:
    return best_single_photon_key(
        n, g2, given, PHASE[protocol], accounting, effort=LIGHT_EFFORT
    ).rate


def minimum_mean(
    g2: ArrayLike,
    link: Link,
    *,
    loss_dB: float,
    comparator: str,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    clock_rate_hz: float | None = None,
) -> Floats:
    """Smallest <n> with which a source of this g2 equals coherent light.

    Attenuating is free, so that the best rate never falls with <n>, and one bracket is enough.

    Returns
    -------
    ndarray
        Shape of `g2`; infinite where no <n> up to 1 (or up to what is physical) reaches it.
    """
    given = LinkParameters.from_link(link, loss_dB, clock_rate_hz)
    g2 = np.asarray(g2, dtype=np.float64)
    other = float(COMPARATORS[comparator].rate(given))

    def ahead(n: Floats) -> NDArray[np.bool_]:
        return _light_rate(n, g2, given, protocol, accounting) >= other

    return _bisect(ahead, np.zeros_like(g2), np.minimum(1.0, 1 / np.maximum(g2, 1e-300)))


def maximum_g2(
    n: ArrayLike,
    link: Link,
    *,
    loss_dB: float,
    comparator: str,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    clock_rate_hz: float | None = None,
) -> Floats:
    """Largest g2 with which a source of this <n> equals coherent light, with pre-attenuation.

    Returns
    -------
    ndarray
        Shape of `n`; 0 where not even g2 = 0 reaches it, 1 or 1/<n> where every physical g2 does.
    """
    given = LinkParameters.from_link(link, loss_dB, clock_rate_hz)
    n = np.asarray(n, dtype=np.float64)
    other = float(COMPARATORS[comparator].rate(given))

    def behind(g2: Floats) -> NDArray[np.bool_]:
        return _light_rate(n, g2, given, protocol, accounting) < other

    most = np.minimum(1.0, 1 / n)
    edge = _bisect(behind, np.zeros_like(n), most)
    edge = np.where(np.isinf(edge), most, edge)
    return np.asarray(np.where(behind(np.zeros_like(n)), 0.0, edge))


def _bisect(holds: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Smallest argument from which a condition holds; infinite where it does not up to `high`."""
    never = ~holds(high)
    for _ in range(32):
        middle = (low + high) / 2
        here = holds(middle)
        low, high = np.where(here, low, middle), np.where(here, middle, high)
    return np.asarray(np.where(never, np.inf, high))
