"""Lifetime from files: time tags or a decay histogram, with or without a measured response."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.tags import PulseClock, TagSource, folded_histogram, open_tags
from qdchar.tags.source import ClickCounter, count_in_one_pass
from qdchar.tags.timing.sync_regression import SyncRegression

from ..detection.pulsed_run import wired_run
from ..models.decay import Array, temporal_fwhm
from .multi_exponential import Decays, fit_decays
from .reconvolution import DecayFit, fit_emg

_TEXT = (".txt", ".csv", ".dat", ".asc")
_BIN_PS = 4.0
_MOST_BINS = 1 << 15


@dataclass(frozen=True)
class _Decay:
    """Counts by time after the pulse, in bins that make one period, and whose they are."""

    counts: Array
    bin_s: float
    channel: int | None = None


def analyse_one_detector(
    path: Path,
    *,
    response: Path | None = None,
    channel: int | None = None,
    sync_channel: int | None = None,
    sync_divider: int = 1,
    period_s: float | None = None,
    response_u_rel: float = 0.0,
) -> Result:
    """Find the lifetime from one channel or one histogram, see `lifetime.analyse_file`."""
    decay = _read(path, channel, sync_channel, sync_divider, period_s)
    label = f"lifetime, {path.name}"
    if response is None:
        fitted = fit_emg(f"Decay, {path.name}", label, decay.counts, decay.bin_s)
        return Result(_behind_a_gaussian(fitted), (fitted.fit,), fitted.problems)
    measured = _read(response, decay.channel, sync_channel, sync_divider, period_s)
    if abs(measured.bin_s - decay.bin_s) > 1e-6 * decay.bin_s:
        raise UsageError(
            f"{response}: bins of {measured.bin_s * 1e12:.4f} ps, but {decay.bin_s * 1e12:.4f} ps "
            f"in {path}; record both alike"
        )
    counts, shape = _common(decay.counts, measured.counts, path)
    found = fit_decays(
        f"Decay, {path.name}", label, counts, shape, decay.bin_s, width_u=response_u_rel
    )
    return Result(_behind_the_measured(found, response), (found.fit,), found.problems)


def _behind_the_measured(found: Decays, response: Path) -> tuple[Estimate, ...]:
    method = (
        f"reconvolution with the measured response ({response.name}), Poisson likelihood"
        f"{found.remark}"
    )
    if found.number > 1:
        method += f"; mean 1/e decay time of {found.number} decays, weighted with their photons"
    if found.tail is not None:
        slow, share = found.tail
        method += f"; a tail of {slow * 1e9:.3g} ns with {share:.1%} of the photons left out"
    lifetime = _lifetime(found.lifetime, method, found.budget)
    return (lifetime,) if found.number > 1 else (lifetime, temporal_fwhm(lifetime))


def _behind_a_gaussian(fitted: DecayFit) -> tuple[Estimate, ...]:
    method = "exponential behind a Gaussian response of fitted width, Poisson likelihood"
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
    return lifetime, temporal_fwhm(lifetime), fwhm


def _lifetime(value: float, method: str, budget: tuple[Contribution, ...]) -> Estimate:
    return Estimate(
        name="lifetime",
        value=value,
        method=method,
        plane="detectors",
        budget=budget,
    )


def _read(
    path: Path,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
) -> _Decay:
    if path.suffix.lower() in _TEXT:
        return _read_text(path)
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


def _read_text(path: Path) -> _Decay:
    """Read two columns; what stands above them says what the first one is in."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    rows: list[tuple[float, float]] = []
    header = []
    for number, line in enumerate(lines, start=1):
        cells = line.replace(",", " ").split()
        if not cells:
            continue
        try:
            rows.append((float(cells[0]), float(cells[1])))
        except (ValueError, IndexError):
            if rows:
                raise RecordError(f"{path}, line {number}: {line!r} among the data") from None
            header.append(line)
    if len(rows) < 32:
        raise RecordError(f"{path}: {len(rows)} rows of two numbers are no decay histogram")
    table = np.array(rows)
    calibration = re.search(r"calibration:\s*([0-9.eE+-]+)\s*ns/ch", "\n".join(header))
    if calibration:
        bin_s = float(calibration[1]) * 1e-9
    elif header and header[-1].lstrip("# ").replace(",", " ").split()[:1] == ["time_ns"]:
        bin_s = float(table[-1, 0] - table[0, 0]) / (len(table) - 1) * 1e-9
    else:
        raise RecordError(
            f"{path}: neither a header 'time_ns counts' nor a line 'Time calibration: ... ns/ch' "
            "says how wide the bins are"
        )
    counts = table[:, 1]
    if np.any(counts < 0) or np.any(counts != np.rint(counts)) or not bin_s > 0:
        raise RecordError(f"{path}: counts must be whole and not negative, bins positive")
    return _Decay(counts, bin_s)


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
