"""Lifetime from files: time tags or a decay histogram, with or without a measured response."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.tags import PulseClock, TagSource, folded_histogram, open_tags
from qdchar.tags.formats.delay_histogram import (
    AS_IN_THE_FILE,
    CurveChoice,
    HistogramCurves,
    is_histogram,
    read_curves,
)
from qdchar.tags.source import ClickCounter, count_in_one_pass
from qdchar.tags.timing.sync_regression import SyncRegression

from ..detection.pulsed_run import wired_run
from ..models.decay import Array, temporal_fwhm
from .gaussian_response import fit_emg
from .multi_exponential import Decays, fit_decays
from .reconvolution import DecayFit

_RESPONSES = ("irf", "response", "instrument_response", "prompt")
"""Names of a column that holds the instrument response."""
_BIN_PS = 4.0
_MOST_BINS = 1 << 15
_MOST_PERIOD_BINS = 1 << 20


@dataclass(frozen=True)
class _Decay:
    """Counts by time after the pulse, in bins that make one period, and whose they are.

    `period_bins` is given where the bins cover only the beginning of a period.
    """

    counts: Array
    bin_s: float
    channel: int | None = None
    period_bins: int | None = None


def analyse_one_detector(
    path: Path,
    *,
    response: Path | None = None,
    channel: int | None = None,
    sync_channel: int | None = None,
    sync_divider: int = 1,
    period_s: float | None = None,
    response_u_rel: float = 0.0,
    choice: CurveChoice = AS_IN_THE_FILE,
    response_column: str | None = None,
) -> Result:
    """Find the lifetime from one channel or one histogram, see `lifetime.analyse_file`."""
    measured: _Decay | None
    if is_histogram(path):
        if channel is not None or sync_channel is not None or sync_divider != 1:
            raise UsageError(
                f"{path} is a histogram: it has no channels and no clock; for one of several "
                "columns give --column"
            )
        decay, measured, named = _from_text(path, response, period_s, choice, response_column)
    else:
        if choice != AS_IN_THE_FILE or response_column is not None:
            raise UsageError(f"{path} holds time tags: columns, curves and units are of histograms")
        tagged = channel, sync_channel, sync_divider, period_s
        decay = _read_tags(path, *tagged)
        measured, named = None, ""
        if response is not None:
            measured = _read_tags(response, decay.channel, *tagged[1:])
            named = response.name
    label = f"lifetime, {path.name}"
    if measured is None:
        fitted = fit_emg(f"Decay, {path.name}", label, decay.counts, decay.bin_s, decay.period_bins)
        return Result(_behind_a_gaussian(fitted), (fitted.fit,), fitted.problems)
    if abs(measured.bin_s - decay.bin_s) > 1e-6 * decay.bin_s:
        raise UsageError(
            f"{named}: bins of {measured.bin_s * 1e12:.4f} ps, but {decay.bin_s * 1e12:.4f} ps "
            f"in {path}; record both alike"
        )
    counts, shape = _common(decay.counts, measured.counts, path)
    found = fit_decays(
        f"Decay, {path.name}",
        label,
        counts,
        shape,
        decay.bin_s,
        width_u=response_u_rel,
        period_bins=decay.period_bins,
    )
    return Result(_behind_the_measured(found, named), (found.fit,), found.problems)


def _from_text(
    path: Path,
    response: Path | None,
    period_s: float | None,
    choice: CurveChoice,
    response_column: str | None,
) -> tuple[_Decay, _Decay | None, str]:
    """Read decay and response, if there is one, from text; and the response's name."""
    curves = read_curves(path, choice.unit)
    own = _response_of(curves, response, choice, response_column)
    nothing_asked = choice == CurveChoice(unit=choice.unit)
    if own is not None and nothing_asked and len(curves.names) == 2:
        index = 1 - own
    else:
        index = curves.chosen(choice)
    decay = _histogram(curves, index, period_s)
    if response is not None:
        if not is_histogram(response):
            raise UsageError(f"{response} holds time tags, {path} a histogram; record both alike")
        others = read_curves(response, choice.unit)
        only = CurveChoice(column=response_column)
        return decay, _histogram(others, others.chosen(only), period_s), response.name
    if own is None:
        return decay, None, ""
    return decay, _histogram(curves, own, period_s), f"{curves.names[own]} of {path.name}"


def _response_of(
    curves: HistogramCurves,
    response: Path | None,
    choice: CurveChoice,
    response_column: str | None,
) -> int | None:
    """Return the index of the response among a file's curves, if it holds one that is used."""
    if response is not None:
        return None
    if response_column is not None:
        return curves.chosen(CurveChoice(column=response_column))
    named = [k for k, name in enumerate(curves.names) if name in _RESPONSES]
    if len(named) != 1 or len(curves.names) < 2:
        return None
    asked = choice != CurveChoice(unit=choice.unit)
    return None if asked and curves.chosen(choice) == named[0] else named[0]


def _histogram(curves: HistogramCurves, index: int, period_s: float | None) -> _Decay:
    counts = curves.histogram(index).counts[:, 0].astype(np.float64)
    if period_s is None:
        return _Decay(counts, curves.bin_s)
    bins = round(period_s / curves.bin_s)
    if not 1 < bins <= _MOST_PERIOD_BINS:
        raise UsageError(
            f"{curves.path}: a period of {period_s:g} s is {bins} bins; from 2 to "
            f"{_MOST_PERIOD_BINS} are possible"
        )
    if counts[bins:].any():
        raise UsageError(
            f"{curves.path} has counts up to {len(counts) * curves.bin_s * 1e9:.4g} ns, more than "
            f"the period of {period_s * 1e9:.4g} ns: give the right period, or cut the histogram"
        )
    return _Decay(counts[:bins], curves.bin_s, period_bins=bins)


def _behind_the_measured(found: Decays, response: str) -> tuple[Estimate, ...]:
    method = (
        f"reconvolution with the measured response ({response}), Poisson likelihood{found.remark}"
    )
    if found.number > 1:
        method += f"; mean 1/e decay time of {found.number} decays, weighted with their photons"
    if found.tail is not None:
        slow, share = found.tail
        method += f"; a tail of {slow * 1e9:.3g} ns with {share:.1%} of the photons left out"
    lifetime = _lifetime(found.lifetime, method, found.budget)
    return (lifetime, temporal_fwhm(lifetime)) if found.single else (lifetime, *found.others)


def _behind_a_gaussian(fitted: DecayFit) -> tuple[Estimate, ...]:
    method = f"{fitted.fit.model} of fitted width, Poisson likelihood{fitted.remark}"
    lifetime = _lifetime(fitted.lifetime, method, fitted.budget)
    if fitted.intervals is not None:
        lifetime = replace(
            lifetime, interval_68=fitted.intervals[0], interval_95=fitted.intervals[1]
        )
    assert fitted.response_fwhm is not None
    value, u = fitted.response_fwhm
    fwhm = Estimate(
        name="response_fwhm",
        value=value,
        method=method,
        plane="detectors",
        budget=(Contribution(f"{fitted.budget[0].source}, width", u),),
    )
    if not fitted.single:
        return lifetime, fwhm, *fitted.others
    return lifetime, temporal_fwhm(lifetime), fwhm


def _lifetime(value: float, method: str, budget: tuple[Contribution, ...]) -> Estimate:
    return Estimate(
        name="lifetime",
        value=value,
        method=method,
        plane="detectors",
        budget=budget,
    )


def _read_tags(
    path: Path,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
) -> _Decay:
    source = open_tags(path)
    run = wired_run(path, source)
    if run is not None and sync_channel is None:
        sync_channel, sync_divider = run.channel_sync, run.sync_divider
    clock, chosen = _clock_and_channel(source, path, channel, sync_channel, sync_divider, period_s)
    step = source.resolution_ps
    # tags are spread over the tagger's step, so that bins may be finer
    n_bins = min(round(clock.period_ps / min(step, _BIN_PS)), _MOST_BINS)
    # A first look finds the peak; the second puts it a quarter of a period after the start.
    coarse = folded_histogram(source, chosen, clock, n_bins=64).counts
    if not coarse.any():
        raise InconclusiveError(f"{path}: channel {chosen} has no clicks; it has {source.channels}")
    offset = (float(np.argmax(coarse)) / 64 - 0.25) * clock.period_ps
    folded = folded_histogram(
        source, chosen, clock, n_bins=n_bins, offset_ps=offset, dither_ps=step
    )
    return _Decay(folded.counts.astype(np.float64), folded.bin_ps * 1e-12, chosen)


def _clock_and_channel(
    source: TagSource,
    path: Path,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
) -> tuple[PulseClock, int]:
    """Find the pulse clock, and if no channel is given that with most clicks besides the clock."""
    clicks = ClickCounter()
    period_ps = source.metadata.sync_period_ps
    if sync_channel is not None:
        sync = SyncRegression(
            sync_channel,
            sync_divider,
            period_guess_ps=None if period_s is None else period_s * 1e12,
        )
        count_in_one_pass(source, sync, clicks)
        clicks.counts[sync_channel] = 0
        clock = sync.clock()
    elif period_ps is not None:
        clock = PulseClock(period_ps=period_ps)
        if channel is None:
            count_in_one_pass(source, clicks)
    else:
        raise UsageError(
            f"{path} is no T3 file: name its clock channel (it has channels "
            f"{', '.join(map(str, source.channels))})"
        )
    if channel is not None:
        return clock, channel
    if not clicks.counts.any():
        raise InconclusiveError(f"{path}: no clicks besides the clock")
    return clock, int(np.argmax(clicks.counts))


def _common(decay: Array, response: Array, path: Path) -> tuple[Array, Array]:
    """Cut off channels that a converter's range leaves empty at the ends, in both alike."""
    if len(decay) != len(response):
        raise UsageError(f"{path}: {len(decay)} bins, but {len(response)} in the response")
    seen = np.flatnonzero((decay > 0) & (response > 0))
    if not len(seen):
        raise InconclusiveError(f"{path}: decay and response have no time in common")
    used = np.flatnonzero((decay > 0) | (response > 0))
    inside = slice(int(used[0]), int(used[-1]) + 1)
    return decay[inside], response[inside]
