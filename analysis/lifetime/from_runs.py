"""Lifetime: an exponential decay convolved with the instrument response, by Poisson likelihood.

The decay histogram is the response histogram convolved with the decay. At a lifetime of 76 ps and
a response of 60 ps FWHM, the result depends strongly on the response. The response is therefore
measured at the same count rate and with the same detectors, and its counting noise is propagated.
Counts in a bin have Poisson errors: least squares with sigma = sqrt(counts) would give a lifetime
that is 2 % too short.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from qdchar.estimate import Contribution, Estimate, merge, propagate
from qdchar.files import PathLike
from qdchar.fit import Result
from qdchar.raw_data import TagRun
from qdchar.tags import open_tags
from qdchar.tags.formats.delay_histogram import AS_IN_THE_FILE, CurveChoice, is_histogram

from ..detection.decay_histogram import Histograms, fold
from ..detection.live_gating import largest_laser_share, live_counts, two_photon_shares
from ..detection.pulsed_run import PulsedRun, open_run, wired_run
from ..detuning import on_resonance
from ..models.decay import Array, decayed, temporal_fwhm
from .from_file import analyse_one_detector
from .reconvolution import fit_decay, width_of_whole

_SIMULATED_CLICKS = 1e8
"""Clicks of a simulated decay: so many that rounding and counting noise do not matter."""

_MAX_WANDER = 0.1
"""Largest slow drift of the laser's pulses [rms, in FWHM of the response].

Such a drift, added in quadrature, makes a Gaussian response 3 % wider.
"""


def analyse(
    emission: TagRun,
    response: TagRun,
    *,
    response_width: Estimate | None = None,
    detuning_correction: Estimate | None = None,
    tagger_clock: Estimate | None = None,
    plane: str = "fibre",
) -> Result:
    """Find the lifetime from a run with the emission and one with the excitation laser.

    Parameters
    ----------
    emission
        Time tags of the source.
    response
        Time tags of the laser through the same path, detectors and count rate.
    response_width
        Width of the response to the emission over that to the laser; None takes them to be alike.
    detuning_correction
        Relative amount by which the measured lifetime is longer than the lifetime on resonance,
        because the cavity vibrates about its resonance: T1 = measured/(1 + detuning_correction).
    tagger_clock
        Error of the time tagger's clock by certificate, which lengthens all times alike.
    plane
        Point of the optical path at which the emission was recorded, for the report.

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
    Each detector is fitted separately (lifetime, shift against the response, counts, background).
    The result is the mean of the two lifetimes, weighted with their inverse variances. A random
    time of up to one step of the tagger is added to each time tag (dither), in both runs. Without
    it, the bins would contain unequal numbers of steps, because the period is nearly a multiple of
    the step.

    A dead detector misses the second of two photons of one pulse. If the two decays are
    independent, the first photon comes after T1/2 on average. A share s of such clicks then makes
    the fitted lifetime too short by the relative amount s/2. If the first photon is laser light,
    or comes from a dot that is excited again, it is prompt; the fitted shift then compensates for
    it. Which of the two happens is not known. The relative correction s/4 is therefore added, with
    a rectangular distribution of the correction from 0 to s/2. On detector A, s = C0/(2 n_B), from
    the coincidences on live pulses.

    The detectors' jitter depends on the wavelength and on how clicks follow each other, so that the
    response to the emission is not exactly as wide as that to the laser. Their part of the response
    is stretched by `response_width`, whose uncertainty both detectors share; the rounding by the
    time tagger's step is the same in both.

    Leaked laser light is prompt. The fitted shift compensates for a part of it; the rest makes the
    fitted lifetime too short. At 76 ps and a response of 60 ps FWHM, the relative effect is about
    the square of the laser's share of the clicks. This share is at most g2(0)/2, if each pair
    contains one laser photon. A simulated decay gives the effect of this largest share. Half of it
    is added, with a rectangular distribution from zero to the whole effect. g2(0) is that of this
    recording.
    """
    return _of_pulses(
        open_run(emission),
        open_run(response),
        response_width,
        detuning_correction,
        plane,
        tagger_clock,
    )


def _of_pulses(
    pulsed: PulsedRun,
    pulsed_laser: PulsedRun,
    response_width: Estimate | None,
    detuning_correction: Estimate | None,
    plane: str,
    tagger_clock: Estimate | None = None,
) -> Result:
    """Find the lifetime from two opened runs; arguments as in `analyse`."""
    emitted, laser = fold(pulsed), fold(pulsed_laser)
    step_s = 1e-12 * pulsed_laser.tags.resolution_ps
    label = pulsed.label
    decays = [
        fit_decay(
            f"Decay on detector {name}",
            f"lifetime {name}, {label}",
            counts,
            shape,
            emitted.bin_s,
            None
            if response_width is None
            else width_of_whole(response_width, shape, emitted.bin_s, step_s),
        )
        for name, counts, shape in (
            ("A", emitted.a, laser.a),
            ("B", emitted.b, laser.b),
        )
    ]
    weights = np.array([1.0 / d.u**2 for d in decays])
    weights /= weights.sum()
    measured = float(sum(w * d.lifetime for w, d in zip(weights, decays, strict=True)))
    budget = [c.times(float(w)) for w, d in zip(weights, decays, strict=True) for c in d.budget]
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
    difference = abs(decays[0].lifetime - decays[1].lifetime)
    if difference > 4.0 * math.hypot(decays[0].u, decays[1].u):
        problems.append(
            f"the two detectors give lifetimes that differ by {difference * 1e12:.2f} ps, "
            "more than four standard uncertainties. Check that the response was recorded at the "
            "same count rate"
        )
    fwhm = _response_fwhm(laser, pulsed_laser.label)
    for r in (pulsed, pulsed_laser):
        if r.wander_ps > _MAX_WANDER * fwhm.value * 1e12:
            problems.append(
                f"{r.label}: the laser's pulses drift by {r.wander_ps:.1f} ps rms against a "
                "regular pulse train. This widens the decay or the response; record for a shorter "
                "time"
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
    if tagger_clock is not None:
        lifetime, fwhm = (_true_time(e, tagger_clock) for e in (lifetime, fwhm))
    if detuning_correction is not None:
        lifetime = on_resonance(lifetime, detuning_correction)
    return Result(
        (lifetime, temporal_fwhm(lifetime), fwhm),
        tuple(d.fit for d in decays),
        tuple(problems),
    )


def _true_time(counted: Estimate, clock: Estimate) -> Estimate:
    """Return a time in seconds instead of the time tagger's units."""
    longer = 1.0 + clock.value
    return replace(
        counted,
        value=longer * counted.value,
        budget=propagate([(counted, longer), (clock, counted.value)]),
    )


def analyse_file(
    path: PathLike,
    *,
    response: PathLike | None = None,
    channel: int | None = None,
    sync_channel: int | None = None,
    sync_divider: int = 1,
    period_s: float | None = None,
    response_u_rel: float = 0.02,
    choice: CurveChoice = AS_IN_THE_FILE,
    response_column: str | None = None,
) -> Result:
    """Find the lifetime from a file, with or without a measured instrument response.

    Parameters
    ----------
    path
        Time tags (a PicoQuant T3 file, or any file with a clock channel), or a decay histogram as
        text, see `qdchar.tags.formats.delay_histogram.read_curves`.
    response
        The instrument response, in the same file format. Without it, a column ``irf``,
        ``response``, ``instrument_response`` or ``prompt`` of the file itself is the response; if
        there is none, a Gaussian response of fitted width is assumed.
    channel
        Detector channel; by default the one with most clicks.
    sync_channel, sync_divider, period_s
        Clock channel, pulses per clock tag and approximate pulse period [s]. They are needed if
        the file is not a T3 file and does not name them. The period is also needed if the tagger
        filters the sync, so that most clock tags are missing. A histogram may be shorter than the
        period; without `period_s` it is taken for one period.
    response_u_rel
        Relative standard uncertainty of the response's width, because the response was recorded at
        another wavelength or count rate.
    choice
        Column or curve of the decay and unit of the times, where a histogram leaves them open.
    response_column
        Column or number of the curve with the response, in `response` or in the file itself.

    Returns
    -------
    Result
        ``lifetime`` and ``temporal_fwhm`` [s]; also ``response_fwhm`` [s] if it is fitted, or if
        two runs that qdchar recorded are given.

    Raises
    ------
    UsageError
        If the file is not T3 and no clock channel is given, a histogram leaves open which column
        or unit is meant, or an option does not fit the file.
    InconclusiveError, RecordError
        If there are too few counts, the fit fails, or the file is damaged.

    Notes
    -----
    Two runs that qdchar recorded contain their channel numbers. They are analysed by `analyse`,
    unless the caller names a channel.

    With a measured response, up to three exponential decays are fitted. A further decay is accepted
    if it lowers the Bayesian information criterion by more than 10. ``lifetime`` is then the mean
    of the decay times, weighted with their photons. A slow tail with less than 5 % of the photons
    is left out and reported.

    With a fitted Gaussian response, a lifetime shorter than the response's width depends on the
    assumption that the response is Gaussian; the result then reports a problem.
    """
    path = Path(path)
    response = None if response is None else Path(response)
    if response is not None and channel is None and sync_channel is None:
        emission, laser = _pulsed_run(path), _pulsed_run(response)
        if emission is not None and laser is not None:
            width = Estimate(
                name="response_width",
                value=1.0,
                method="given",
                budget=(Contribution("response width", response_u_rel, "B"),),
            )
            return _of_pulses(emission, laser, width, None, "detectors")
    return analyse_one_detector(
        path,
        response=response,
        channel=channel,
        sync_channel=sync_channel,
        sync_divider=sync_divider,
        period_s=period_s,
        response_u_rel=response_u_rel,
        choice=choice,
        response_column=response_column,
    )


def _pulsed_run(path: Path) -> PulsedRun | None:
    """Open a file of time tags; None for a histogram or a file that does not name its channels."""
    if is_histogram(path):
        return None
    tags = open_tags(path)
    run = wired_run(path, tags)
    return None if run is None else open_run(run, tags=tags)


def _with_laser(lifetime_s: float, response: Array, bin_s: float, share: float) -> float:
    """Fitted lifetime if this share of the clicks is laser light [s]."""
    shape = response / response.sum()
    mixed = (1.0 - share) * decayed(shape, bin_s, lifetime_s) + share * shape
    return fit_decay("", "leaked laser", _SIMULATED_CLICKS * mixed, response, bin_s).lifetime


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
    smoothed = np.convolve(counts, np.full(smooth, 1.0 / smooth), mode="same")
    top = int(np.argmax(smoothed))
    half = smoothed[top] / 2
    rising = int(np.flatnonzero(smoothed[:top] < half)[-1])
    falling = top + int(np.flatnonzero(smoothed[top:] < half)[0])
    left = rising + (half - smoothed[rising]) / (smoothed[rising + 1] - smoothed[rising])
    right = falling - (half - smoothed[falling]) / (smoothed[falling - 1] - smoothed[falling])
    noise = math.sqrt(
        1.5 * half / smooth
    )  # of a smoothed point at half height, and of half the maximum
    slopes = smoothed[rising + 1] - smoothed[rising], smoothed[falling - 1] - smoothed[falling]
    return float(right - left), math.hypot(*(noise / s for s in slopes))
