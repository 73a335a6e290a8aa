"""Dark times of a blinking source: recordings last long enough to meet many of them.

How many a recording met is in its blinking amplitude's u.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from qdchar.analysis.detection.blinking import blinks, with_dark_times
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import Settings, TagRun

from ..session import Session

S = TypeVar("S", bound=Settings)

_NAMES = ("blinking_amplitude", "blinking_amplitude_sent")

_SCATTER = 0.01
"""Scatter of the mean light of recordings, relative, up to which they are long enough."""

_LONGEST = 10
"""So many times as long as the recipe says a recording may become."""


def times_longer(s: Session, duration_s: float) -> int:
    """Return how many times as long a recording must be, at most ten times."""
    return max(1, min(math.ceil((s.light.flicker(duration_s) / _SCATTER) ** 2), _LONGEST))


def long_enough(s: Session, settings: S, *durations: str) -> S:
    """Lengthen the recordings of a source that blinks slowly.

    A recording that meets few dark times says little of the source's mean light, and less of how
    little that is.

    Parameters
    ----------
    durations
        Fields of the settings that are durations of recordings [s].

    Returns
    -------
    Settings
        With durations over which the light scatters by 1 %, as far as recordings and locks show;
        up to ten times those of the recipe.
    """
    longer = {}
    for field in durations:
        times = times_longer(s, getattr(settings, field))
        if times > 1:
            longer[field] = times * getattr(settings, field)
    if longer:
        said = ", ".join(f"{field} = {value:.3g}" for field, value in longer.items())
        s.display.say(f"    the source blinks slowly: recording longer, {said}")
    return settings.model_copy(update=longer)


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
