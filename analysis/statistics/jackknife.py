"""Jackknife over time blocks: an uncertainty that includes drift and blinking; sqrt(N) does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Table = NDArray[np.float64]
Statistic = Callable[[Table], float]

FEWEST_BLOCKS = 20
_LONG_BLOCKS = 2


def long_blocks(table: Table) -> Table:
    """Join blocks into two long ones, shape (2, columns).

    Notes
    -----
    Statistics that are not linear in the counts are evaluated over these two blocks. Over the
    whole run, a drift makes the product of averages differ from the average product; two halves
    leave a quarter of that difference. Shorter blocks would leave less of it, but would mistake
    bright periods of a blinking source for drift: the product grows by 2 b tau_b/block, and a
    ratio of counts is biased by the inverse of a block's counts.
    """
    return joined(table, _LONG_BLOCKS)


def joined(table: Table, blocks: int) -> Table:
    """Join neighbouring blocks, shape (blocks, columns)."""
    edges = np.arange(blocks) * len(table) // blocks
    return np.asarray(np.add.reduceat(table, edges, axis=0), dtype=np.float64)


def product_of_rates(table: Table) -> float:
    """Return the pairs of independent clicks, the sum of n_A n_B/N over long blocks.

    Parameters
    ----------
    table
        Blocks in order of time, shape (k, 3 or more): pulses N, clicks n_A and n_B.
    """
    pulses, n_a, n_b = long_blocks(table[:, :3]).T
    return float(np.sum(n_a * n_b / pulses))


def jackknife(statistic: Statistic, table: ArrayLike) -> float:
    """Return the standard uncertainty of a statistic from leaving out one block at a time [1]_.

    Where neighbouring blocks are correlated, blocks are shorter than the drift or the blinking.
    Groups of neighbouring blocks are then left out instead, such that 20 groups remain.

    Parameters
    ----------
    statistic
        Function of a table of blocks, shape (k, columns), that returns a number.
    table
        Sums of the blocks in order of time, shape (k, columns), k >= 20.

    References
    ----------
    .. [1] B. Efron, C. Stein, Ann. Statist. 9, 586 (1981), doi:10.1214/aos/1176345462
    """
    blocks = np.asarray(table, dtype=np.float64)
    if len(blocks) < FEWEST_BLOCKS:
        raise ValueError(f"{len(blocks)} blocks; a jackknife needs at least {FEWEST_BLOCKS}")
    change = _left_out(statistic, blocks, 1)
    group = len(blocks) // FEWEST_BLOCKS
    if group > 1 and _neighbours_agree(change):
        change = _left_out(statistic, blocks, group)
    n = len(change)
    return float(np.sqrt((n - 1) / n * np.sum((change - change.mean()) ** 2)))


def _left_out(statistic: Statistic, blocks: Table, group: int) -> Table:
    """Return the statistic without each group of neighbours, shape (groups,)."""
    index = np.arange(len(blocks)) // group
    index = np.minimum(index, len(blocks) // group - 1)
    return np.array([statistic(blocks[index != g]) for g in range(index[-1] + 1)])


def _neighbours_agree(change: Table) -> bool:
    deviation = change - change.mean()
    variance = float(deviation @ deviation)
    if variance == 0.0:
        return False
    correlation = float(deviation[1:] @ deviation[:-1]) / variance
    return bool(correlation > 3.0 / len(change) ** 0.5)
