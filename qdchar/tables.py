"""Estimates and key rates as pandas tables, for a notebook or a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from .estimate import Estimate
    from .keyrate import KeyRate

ESTIMATE_COLUMNS = (
    *("quantity", "words", "symbol", "value", "u", "u_statistical", "unit"),
    *("low_68", "high_68", "low_95", "high_95", "plane", "method"),
)
"""Columns of `estimates_table`."""
_NO_INTERVAL = (float("nan"), float("nan"))


def estimates_table(estimates: Iterable[Estimate]) -> pd.DataFrame:
    """Put estimates into a table.

    Parameters
    ----------
    estimates
        The rows come in their order.

    Returns
    -------
    pandas.DataFrame
        One row per estimate, indexed by the quantity's name, with the rest of `ESTIMATE_COLUMNS`:
        value, standard uncertainty and ends of the intervals in `unit`, an SI unit; the ends are
        NaN where value +- u and value +- 2 u serve.

    Examples
    --------
    >>> from qdchar.estimate import Contribution, Estimate
    >>> budget = (Contribution("counting", 2e-12),)
    >>> e = Estimate(name="lifetime", value=76e-12, method="fit", budget=budget)
    >>> estimates_table([e]).loc["lifetime", ["value", "u", "unit"]].tolist()
    [7.6e-11, 2e-12, 's']
    """
    import pandas as pd

    rows = [
        (
            *(e.name, e.quantity.words, e.quantity.symbol, e.value, e.u, e.u_statistical, e.unit),
            *(e.interval_68 or _NO_INTERVAL),
            *(e.interval_95 or _NO_INTERVAL),
            *(e.plane, e.method),
        )
        for e in estimates
    ]
    return pd.DataFrame(rows, columns=list(ESTIMATE_COLUMNS)).set_index("quantity")


def key_rate_table(points: Iterable[KeyRate]) -> pd.DataFrame:
    """Put predicted key rates into a table, such as a curve over the channel's loss.

    Parameters
    ----------
    points
        The rows come in their order; what `qdchar.keyrate.predict` returns.

    Returns
    -------
    pandas.DataFrame
        One row per point: ``loss_dB``, ``rate_per_pulse`` with its standard uncertainty
        ``rate_per_pulse_u``, ``rate_bps`` [bit/s], the settings ``p_z`` and ``attenuation``,
        ``qber``, ``phase_error``, ``gain``, ``key_length`` [bit] and ``pulses_sent`` (NaN in the
        asymptotic case), and for each comparator ``NAME rate_per_pulse`` and ``NAME advantage_dB``
        (NaN where there is no key).
    """
    import pandas as pd

    rows = []
    for p in points:
        row: dict[str, object] = {
            "loss_dB": p.loss_dB,
            "rate_per_pulse": p.rate_per_pulse,
            "rate_per_pulse_u": p.rate_per_pulse_u,
            "rate_bps": p.rate_bps,
            "p_z": p.p_z,
            "attenuation": p.attenuation,
            "qber": p.qber,
            "phase_error": p.phase_error,
            "gain": p.gain,
            "key_length": p.key_length,
            "pulses_sent": p.pulses_sent,
        }
        for c in p.comparators:
            row[f"{c.name} rate_per_pulse"] = c.rate_per_pulse
            row[f"{c.name} advantage_dB"] = c.advantage_dB
        rows.append(row)
    return pd.DataFrame(rows)
