"""An efficiency measured end to end, compared with the product of its parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdchar import analysis
from qdchar.estimate import Estimate
from qdchar.fit import Result

from ..session import Session


def with_chain(
    s: Session, result: Result, name: str, prefix: str, measured_parts: Sequence[Estimate]
) -> Result:
    """Add the product of the parts to a result; without certificates of parts, change nothing.

    Parameters
    ----------
    name
        The efficiency as measured from end to end, one of the result's quantities.
    prefix
        Beginning of the names of the parts' certificates, e.g. ``"transmitter_part_"``.
    measured_parts
        Parts that were measured rather than certified.
    """
    given = [c for c in s.station.file.calibrations if c.startswith(prefix)]
    if not given:
        return result
    parts = [
        analysis.loss_budget.as_transmission(part)
        for part in (*measured_parts, *(s.certificate(c) for c in given))
    ]
    chain = analysis.loss_budget.analyse(
        parts, result[name], np.random.default_rng(0), name=f"{name}_chain"
    )
    new = [part for part in measured_parts if s.maybe(part.name) is None]
    return Result(
        (*result.estimates, *new, *chain.estimates),
        (*result.fits, *chain.fits),
        (*result.problems, *chain.problems),
    )
