"""From a plane of the optical path to clicks: losses, and how the detectors' efficiency changes.

A certificate of the detectors holds at one polarisation and one click rate. In a position of the
light path, light reaches them with the loss of that position, which changes by a little with each
switching, with a polarisation that nobody knows, and at another rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qdchar.estimate import Contribution, Estimate, propagate

_dB = math.log(10.0) / 10.0


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

    Notes
    -----
    Of a detector whose efficiency depends on polarisation as eta (1 + (P/2) s.a), light of a random
    polarisation s meets any value between 1 - P/2 and 1 + P/2 with equal probability: a rectangular
    distribution, independent for each detector and each position of the light path, the same for
    all recordings there. The detectors contribute by their clicks.
    """
    total = sum(clicks_Hz)
    shares = [rate / total for rate in clicks_Hz]
    above_Hz = sum(w * r for w, r in zip(shares, clicks_Hz, strict=True))
    above_Hz -= reception.certified_rate.value
    faster = 1.0 + reception.linearity.value * above_Hz
    transmission = 10.0 ** (-0.1 * reception.loss.value)
    value = certified.value * transmission * faster
    of_rate = value / faster
    u_polarisation = 0.5 * reception.polarisation.value / math.sqrt(3.0) * math.hypot(*shares)
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
                    (reception.loss, -_dB * value),
                    (reception.linearity, of_rate * above_Hz),
                    (reception.certified_rate, -of_rate * reception.linearity.value),
                ]
            ),
            Contribution(
                f"polarisation at the detectors, path {reception.path}",
                value * u_polarisation,
                "B",
            ),
            Contribution(
                f"switching to {reception.path}, {label}",
                _dB * value * reception.repeatability.value,
                "B",
            ),
        ),
    )
