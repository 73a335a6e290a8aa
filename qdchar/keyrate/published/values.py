"""Published numbers of single-photon key distribution, to stand beside computed ones.

Only what abstracts print, or what follows from it as said here.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdchar.link import Constant, Link

PAPER = "Zhang et al., PRL 134, 210801 (2025)"
MORRISON = "Morrison et al., Nat. Commun. 14, 3573 (2023)"
POUSA = "Pousa et al., arXiv:2405.19963 (2024)"
YANG = "Yang et al., Light Sci. Appl. 13, 150 (2024)"
DING = "Ding et al., Nat. Photon. 19, 387 (2025)"


@dataclass(frozen=True)
class MeasuredRate:
    """A measured secret key rate.

    Attributes
    ----------
    loss_dB
        Channel loss.
    rate_per_pulse
        Secret bits per sent pulse.
    uncertainty
        How well the value is known here (not the experiment's error).
    where
        "field", "laboratory" or "fibre".
    source
        Publication.
    """

    loss_dB: float
    rate_per_pulse: float
    uncertainty: float
    where: str
    source: str = PAPER


@dataclass(frozen=True)
class MeasuredSource:
    """A single-photon source that was used, or could be, for key distribution."""

    n: float
    g2: float
    where: str
    source: str


# The field value is printed in the paper's abstract. The laboratory values are drawn as points
# there, not printed; validation/keyrate_published.py derives them.
MEASURED = (
    MeasuredRate(0.17, 5.65e-2, 1e-4, "laboratory"),
    MeasuredRate(5.11, 1.697e-2, 5e-5, "laboratory"),
    MeasuredRate(10.15, 4.345e-3, 9e-6, "laboratory"),
    MeasuredRate(14.6, 1.08e-3, 5e-6, "field"),
    MeasuredRate(15.16, 1.083e-3, 3e-6, "laboratory"),
)

# 13 kbit/s at 100 km of 0.1905 dB/km and 160.7 MHz; 4.8e-5 at 25.49 dB
OTHERS = (
    MeasuredRate(19.05, 13e3 / 160.7e6, 0.5e3 / 160.7e6, "fibre", MORRISON),
    MeasuredRate(25.49, 4.8e-5, 5e-7, "fibre", YANG),
)

# The papers compute with dark counts that divide between the bases like light, which background
# counts do here, and without dead time.
PAPERS_LINK = Link(dark_count_rate=Constant(value=0.0), background_count_rate=Constant(value=43.0))

SOURCES = (
    MeasuredSource(0.292, 0.00698, "at the channel's input", PAPER),
    MeasuredSource(0.712, 0.0205, "in the fibre", DING),
    MeasuredSource(0.0142, 0.036, "at the channel's input", MORRISON),
)


def measured_at(loss_dB: float) -> MeasuredRate | None:
    """Return the paper's measurement at this loss, if there is one."""
    return next((m for m in MEASURED if abs(m.loss_dB - loss_dB) < 5e-3), None)
