"""Dark times of a blinking source: how many a recording meets is in its blinking amplitude's u."""

from __future__ import annotations

from dataclasses import replace

from qdchar.analysis.detection.blinking import blinks, with_dark_times
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import TagRun

from ..session import Session

_NAMES = ("blinking_amplitude", "blinking_amplitude_sent")


def of_session(s: Session, result: Result, run: TagRun) -> Result:
    """Add to a blinking amplitude what the session's other recordings show of the light's scatter.

    Light that does not blink scatters, too, where the cavity vibrates; that is no dark time. So
    nothing is added until this recording, or an earlier one, showed that the source blinks.
    """
    flicker = s.light.flicker(run.duration_s)

    def known(e: Estimate) -> Estimate:
        if e.name not in _NAMES or not (blinks(e) or any(blinks(s.maybe(n)) for n in _NAMES)):
            return e
        return with_dark_times(e, flicker, run.file.name)

    return replace(result, estimates=tuple(known(e) for e in result.estimates))
