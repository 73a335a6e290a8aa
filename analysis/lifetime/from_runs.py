"""Lifetime: exponential decay behind the measured instrument response, by Poisson likelihood.

The decay histogram is the response histogram convolved with the decay. At a lifetime of 76 ps and
a response of 60 ps FWHM the response decides the result, so it is measured, at the same count rate
and through the same detectors, and its own counting noise is propagated. No bin has a Gaussian
error: least squares with sigma = sqrt(counts) would come out 2 % short.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from qdchar.estimate import Contribution, Estimate, merge
from qdchar.fit import Result
from qdchar.raw_data import TagRun
from qdchar.tags import open_tags
from qdchar.tags.formats.delay_histogram import is_histogram

from ..detection.decay_histogram import Histograms, fold
from ..detection.live_gating import largest_laser_share, live_counts, two_photon_shares
from ..detection.pulsed_run import PulsedRun, open_run, wired_run
from ..detuning import on_resonance
from ..models.decay import Array, decayed, temporal_fwhm
from .from_file import analyse_one_detector
from .reconvolution import fit_decay

_NOISELESS_CLICKS = 1e8
"""Clicks of a simulated decay: so many that rounding and counting noise do not matter."""

_MAX_WANDER = 0.1
"""Largest wander of the laser's pulses, in FWHM of the response. It adds in quadrature: 0.5 %."""


def analyse(
    emission: TagRun,
    response: TagRun,
    *,
    detuning_correction: Estimate | None = None,
    plane: str = "fibre",
) -> Result:
    """Find the lifetime from a run with the emission and one with the excitation laser.

    Parameters
    ----------
    emission
        Time tags of the source.
    response
        Time tags of the laser through the same path, detectors and count rate.
    detuning_correction
        Relative amount by which the measured lifetime is known to be longer than the one asked
        for (a cavity that vibrates about its resonance): T1 = measured/(1 + detuning_correction).
    plane
        Where in the optical path the emission was taken.

    Returns
    -------
    Result
        ``lifetime``: T1, the 1/e decay time [s]; ``temporal_fwhm``: T1 ln 2, the FWHM of the
        intensity with the response removed [s]; ``response_fwhm``: of the instrument response
        [s]. One fit for each detector.

    Raises
    ------
    InconclusiveError
        If a detector is silent, the clock is lost or a fit fails.

    Notes
    -----
    Each detector is fitted for itself (lifetime, shift against the response, counts, background)
    and the two are averaged with their weights. Time tags are spread over the tagger's step, in
    both runs alike: the period is nearly a multiple of the step, and bins would hold unequal
    numbers of steps.

    A detector that is dead after a click keeps the first of two photons of one pulse. The first
    of two independent decays comes after T1/2, so that a share s of such clicks makes the fit
    short by s/2; where the first is laser light or that of a re-excited dot it is prompt, and the
    shift takes it up. Which it is is not known: s/4 is added, with a rectangular distribution from
    0 to s/2. s = C0/(2 n_B) on detector A, from the coincidences on live pulses.

    Leaked laser light is prompt, and what of it the shift does not take up makes the fit short:
    at 76 ps behind a response of 60 ps, by the square of its share. The share is at most g2(0)/2,
    where all pairs are made of one laser photon; half of what that would do is added, with a
    rectangular distribution from none to all. g2(0) is that of this recording.
    """
    return _of_pulses(open_run(emission), open_run(response), detuning_correction, plane)


def _of_pulses(
    pulsed: PulsedRun, pulsed_laser: PulsedRun, detuning_correction: Estimate | None, plane: str
) -> Result:
    """Find the lifetime from two runs that are open; arguments as in `analyse`."""
    emitted, laser = fold(pulsed), fold(pulsed_laser)
    label = pulsed.label
    decays = [
        fit_decay(
            f"Decay on detector {name}", f"lifetime {name}, {label}", counts, shape, emitted.bin_s
        )
        for name, counts, shape in (
            ("A", emitted.a, laser.a),
            ("B", emitted.b, laser.b),
        )
    ]
    weights = np.array([1.0 / d.u**2 for d in decays])
    weights /= weights.sum()
    measured = float(sum(w * d.lifetime for w, d in zip(weights, decays, strict=True)))
    budget = [
        Contribution(c.source, float(w) * c.u, c.kind)
        for w, d in zip(weights, decays, strict=True)
        for c in d.budget
    ]
    live = live_counts(pulsed, emitted.ungated)
    pair_correction = 0.25 * measured * float(weights @ two_photon_shares(live.statistics))
    laser_share = largest_laser_share(live.statistics)
    laser_correction = 0.5 * sum(
        float(w) * (d.lifetime - _with_laser(d.lifetime, shape, emitted.bin_s, laser_share))
        for w, d, shape in zip(weights, decays, (laser.a, laser.b), strict=True)
    )
    measured += pair_correction + laser_correction
    added = 100.0 * (pair_correction + laser_correction) / measured
    budget.append(
        Contribution(f"first of two photons, {label}", pair_correction / math.sqrt(3.0), "B")
    )
    budget.append(Contribution(f"leaked laser, {label}", laser_correction / math.sqrt(3.0), "B"))
    problems = [p for d in decays for p in d.problems]
    apart = abs(decays[0].lifetime - decays[1].lifetime)
    if apart > 4.0 * math.hypot(decays[0].u, decays[1].u):
        problems.append(
            f"the two detectors give lifetimes that differ by {apart * 1e12:.2f} ps, more than "
            "their errors allow: was the response taken at the same count rate?"
        )
    fwhm = _response_fwhm(laser, pulsed_laser.label)
    for r in (pulsed, pulsed_laser):
        if r.wander_ps > _MAX_WANDER * fwhm.value * 1e12:
            problems.append(
                f"{r.label}: the laser's pulses wander by {r.wander_ps:.1f} ps about a regular "
                "train, which widens the decay or the response; record shorter"
            )
    lifetime = Estimate(
        name="lifetime",
        value=measured,
        method=(
            "reconvolution with the measured response, Poisson likelihood, both detectors; "
            f"{added:.2g} % added for photon pairs and leaked laser"
        ),
        plane=plane,
        budget=merge(budget),
    )
    if detuning_correction is not None:
        lifetime = on_resonance(lifetime, detuning_correction)
    return Result(
        (lifetime, temporal_fwhm(lifetime), fwhm),
        tuple(d.fit for d in decays),
        tuple(problems),
    )


def analyse_file(
    path: Path,
    *,
    response: Path | None = None,
    channel: int | None = None,
    sync_channel: int | None = None,
    sync_divider: int = 1,
    period_s: float | None = None,
    response_u_rel: float = 0.02,
) -> Result:
    """Find the lifetime from a file, without or with a measured instrument response.

    Parameters
    ----------
    path
        Time tags (a PicoQuant T3 file, or any file with a clock channel), or a decay histogram as
        text: two columns, time and counts, under a header ``time_ns counts``, or channel numbers
        with the line ``Time calibration: ... ns/ch`` above them.
    response
        The instrument response in the same form. Without it the response is taken for a Gaussian
        whose width is fitted.
    channel
        Detector channel; by default the one with most clicks.
    sync_channel, sync_divider, period_s
        Clock channel, pulses per clock tag, approximate pulse period [s], where the file neither
        is T3 nor names them. With filtered sync, where most clock tags are missing, the period is
        needed.
    response_u_rel
        Relative standard uncertainty of the response's width: it was recorded with light of another
        colour, or at another count rate. Two runs of qdchar's own need it not.

    Returns
    -------
    Result
        ``lifetime`` and ``temporal_fwhm`` [s]; ``response_fwhm`` [s] where it is fitted or both
        detectors were recorded.

    Raises
    ------
    UsageError
        If the file is not T3 and no clock channel is given.
    InconclusiveError, RecordError
        If there are too few counts, the fit fails, or the file is damaged.

    Notes
    -----
    Two runs of qdchar's own, which know their channels, are taken as by `analyse`, unless a channel
    is named.

    A measured response allows up to three decays, each taken where the Bayesian information
    criterion favours it by more than 10; then ``lifetime`` is the mean, each decay weighted with
    its photons. A slow tail with less than 5 % of them is left out and reported.

    With a fitted Gaussian response a lifetime below the response's width rests on the response
    being Gaussian; the result then carries a problem.
    """
    if response is not None and channel is None and sync_channel is None:
        emission, laser = _pulsed_run(path), _pulsed_run(response)
        if emission is not None and laser is not None:
            return _of_pulses(emission, laser, None, "detectors")
    return analyse_one_detector(
        path,
        response=response,
        channel=channel,
        sync_channel=sync_channel,
        sync_divider=sync_divider,
        period_s=period_s,
        response_u_rel=response_u_rel,
    )


def _pulsed_run(path: Path) -> PulsedRun | None:
    """Open a file of time tags that names its channels."""
    if is_histogram(path):
        return None
    tags = open_tags(path)
    run = wired_run(path, tags)
    return None if run is None else open_run(run, tags=tags)


def _with_laser(lifetime_s: float, response: Array, bin_s: float, share: float) -> float:
    """Lifetime that a fit finds where this share of the clicks is laser light [s]."""
    shape = response / response.sum()
    mixed = (1.0 - share) * decayed(shape, bin_s, lifetime_s) + share * shape
    return fit_decay("", "leaked laser", _NOISELESS_CLICKS * mixed, response, bin_s).lifetime


def _response_fwhm(laser: Histograms, label: str) -> Estimate:
    """FWHM of the response, mean of the two detectors."""
    widths = [_fwhm(counts) for counts in (laser.a, laser.b)]
    return Estimate(
        name="response_fwhm",
        value=laser.bin_s * (widths[0][0] + widths[1][0]) / 2,
        method="half height of the laser's histogram, mean of both detectors",
        plane="detectors",
        budget=tuple(
            Contribution(f"response counts {name}, {label}", laser.bin_s * u / 2)
            for name, (_, u) in zip("AB", widths, strict=True)
        ),
    )


def _fwhm(counts: Array, smooth: int = 9) -> tuple[float, float]:
    """Width at half height and its standard uncertainty, in bins."""
    even = np.convolve(counts, np.full(smooth, 1.0 / smooth), mode="same")
    top = int(np.argmax(even))
    half = even[top] / 2
    rising = int(np.flatnonzero(even[:top] < half)[-1])
    falling = top + int(np.flatnonzero(even[top:] < half)[0])
    left = rising + (half - even[rising]) / (even[rising + 1] - even[rising])
    right = falling - (half - even[falling]) / (even[falling - 1] - even[falling])
    noise = math.sqrt(1.5 * half / smooth)  # of a point at half height, and of half the top
    slopes = even[rising + 1] - even[rising], even[falling - 1] - even[falling]
    return float(right - left), math.hypot(*(noise / s for s in slopes))
