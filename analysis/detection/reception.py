"""From a plane of the optical path to clicks: losses, and how the detectors' efficiency changes.

A certificate of the detectors holds at one polarisation and one click rate. In a position of the
light path, light reaches them with the loss of that position, which changes by a little with each
switching, with a polarisation that nobody knows, and at another rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.raw_data import TagRun

from .dead_time_model import click_probability

PER_DB = math.log(10.0) / 10.0
"""Relative change of a transmission per decibel."""


@dataclass(frozen=True, kw_only=True)
class Reception:
    """What lies between a plane and the clicks in one position of the light path.

    Attributes
    ----------
    path
        The position.
    loss
        From the plane to the detectors [dB].
    repeatability
        Standard deviation of `loss` from one switching to the next [dB].
    polarisation
        Highest less lowest efficiency of a detector over all polarisations, over their mean.
    linearity
        Relative change of a detector's efficiency per click rate [s].
    certified_rate
        Click rate of each detector at which its efficiency was found [Hz].
    """

    path: str
    loss: Estimate
    repeatability: Estimate
    polarisation: Estimate
    linearity: Estimate
    certified_rate: Estimate


def efficiency_from_plane(
    certified: Estimate, reception: Reception, clicks_Hz: Sequence[float], label: str
) -> Estimate:
    """Return the probability that a photon at the plane makes a click.

    Parameters
    ----------
    certified
        The detectors' efficiency by certificate, of both alike.
    reception
        Between the plane and the detectors.
    clicks_Hz
        Click rate of each detector.
    label
        The recording, which had one switching of the light path.

    """
    total = sum(clicks_Hz)
    shares = [rate / total for rate in clicks_Hz]
    above_Hz = sum(w * r for w, r in zip(shares, clicks_Hz, strict=True))
    above_Hz -= reception.certified_rate.value
    faster = 1.0 + reception.linearity.value * above_Hz
    transmission = 10.0 ** (-0.1 * reception.loss.value)
    value = certified.value * transmission * faster
    of_rate = value / faster
    return Estimate(
        name="detector_efficiency",
        value=value,
        method=(
            f"{certified.method}; behind {reception.loss.value:.3g} dB, "
            f"{100.0 * (faster - 1.0):+.2g} % for the click rate"
        ),
        plane=f"plane before the light path's `{reception.path}` to click",
        budget=(
            *propagate(
                [
                    (certified, value / certified.value),
                    (reception.loss, -PER_DB * value),
                    (reception.linearity, of_rate * above_Hz),
                    (reception.certified_rate, -of_rate * reception.linearity.value),
                ]
            ),
            *of_path(
                value,
                reception.path,
                clicks_Hz,
                label,
                polarisation=reception.polarisation,
                repeatability=reception.repeatability,
            ),
        ),
    )


def of_path(
    efficiency: float,
    path: str,
    clicks: Sequence[float],
    label: str,
    *,
    polarisation: Estimate,
    repeatability: Estimate,
) -> tuple[Contribution, ...]:
    """Return what a position of the light path adds to the uncertainty of an efficiency there.

    Parameters
    ----------
    efficiency
        From a plane to clicks.
    path, label
        The position, and the recording, which had one switching to it.
    clicks
        Of each detector, or their rates.
    polarisation, repeatability
        As in `Reception`.

    Notes
    -----
    Of a detector whose efficiency depends on polarisation as eta (1 + (P/2) s.a), light of a random
    polarisation s meets any value between 1 - P/2 and 1 + P/2 with equal probability: a rectangular
    distribution, independent for each detector and each position of the light path, the same for
    all recordings there. The detectors contribute by their clicks.
    """
    each = 0.5 * polarisation.value / math.sqrt(3.0)
    turned = each * math.hypot(*clicks) / sum(clicks)
    return (
        Contribution(f"polarisation at the detectors, path {path}", efficiency * turned, "B"),
        Contribution(
            f"switching to {path}, {label}", efficiency * PER_DB * repeatability.value, "B"
        ),
    )


def split_problems(
    before: TagRun,
    after: TagRun,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    polarisation: Estimate,
) -> tuple[str, ...]:
    """Doubt detectors whose ratio changes between two paths by more than their certificate allows.

    Parameters
    ----------
    before, after
        Recordings in two positions of the light path behind one beam splitter.
    clock_rate_Hz, dead_pulses
        Pulse rate, and pulses that a detector is dead after a click.
    polarisation
        As in `Reception`.

    Notes
    -----
    In each position either detector is between 1 - P/2 and 1 + P/2 of its mean, so that their
    ratio can change by a factor of at most ((1 + P/2)/(1 - P/2))^2. Counting is allowed four
    standard uncertainties.
    """
    (ratio_1, u_1), (ratio_2, u_2) = (
        _split(run, clock_rate_Hz, dead_pulses) for run in (before, after)
    )
    half = 0.5 * polarisation.value
    largest = 2.0 * math.log((1.0 + half) / (1.0 - half)) + 4.0 * math.hypot(u_1, u_2)
    change = math.log(ratio_2 / ratio_1)
    if abs(change) <= largest:
        return ()
    return (
        f"the detectors' ratio A/B is {ratio_1:.4f} in {before.file.name} and {ratio_2:.4f} in "
        f"{after.file.name}: {100.0 * math.expm1(change):+.2g} %, where a polarisation dependence "
        f"of {100.0 * polarisation.value:.2g} % allows {100.0 * math.expm1(largest):.2g} %. Is "
        "detector_polarisation certified for this wavelength, does the beam splitter depend on "
        "polarisation?",
    )


def _split(run: TagRun, clock_rate_Hz: float, dead_pulses: float) -> tuple[float, float]:
    """Ratio of the photons on A to those on B, and its relative standard uncertainty."""
    clicks = run.clicks.sum(axis=0)
    a, b = click_probability(clicks / (run.duration_s * clock_rate_Hz), dead_pulses)
    return float(a / b), float(np.sqrt(1.0 / clicks).sum())
