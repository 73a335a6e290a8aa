"""Published numbers of single-photon key distribution, to stand beside computed ones.

Only what abstracts and press releases print, or what follows from it as said here.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdchar.link import Constant, Link

PAPER = "Zhang et al., PRL 134, 210801 (2025)"
MORRISON = "Morrison et al., Nat. Commun. 14, 3573 (2023)"
POUSA = "Pousa et al., arXiv:2405.19963 (2024)"
YANG = "Yang et al., Light Sci. Appl. 13, 150 (2024)"
DING = "Ding et al., Nat. Photon. 19, 387 (2025)"
WANG = "Wang et al., Light Sci. Appl., 10.1038/s41377-026-02205-9 (2026)"
SAMANER = "Samaner et al., Adv. Quantum Technol. 5, 2200059 (2022)"
TAPSIN = "Tapşın et al., arXiv:2501.13902 (2025)"


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
        "field" or "laboratory" (fibre on a spool is one).
    source
        Publication, its year in brackets at the end.
    loss_given
        The source gives the channel's loss or the length of fibre; if not, `loss_dB` is 0.
    """

    loss_dB: float
    rate_per_pulse: float
    uncertainty: float
    where: str
    source: str = PAPER
    loss_given: bool = True


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

# Single photons elsewhere, where abstract or press release give a secret key rate. Protocols,
# receivers and block lengths differ. Morrison: 13 kbit/s at 100 km of 0.1905 dB/km, 160.7 MHz.
# Yang: 4.8e-5 bit a pulse at 25.49 dB. Wang: about 15 bit/s at 120 km and 76 MHz, by the journal's
# press release; the fibre's loss is not given, 0.2 dB/km is assumed. Left out is Takemoto et al.,
# Sci. Rep. 5, 14383 (2015), 27.6 bit/s at 100 km: its abstract gives no pulse rate.
# Samaner, Tapşın (protocol B92): 238 bit/s at 1 MHz, 7 kbit/s at 40 MHz.
OTHERS = (
    MeasuredRate(19.05, 13e3 / 160.7e6, 0.5e3 / 160.7e6, "laboratory", MORRISON),
    MeasuredRate(25.49, 4.8e-5, 5e-7, "field", YANG),
    MeasuredRate(24.0, 15 / 76e6, 0.5 / 76e6, "laboratory", WANG),
    MeasuredRate(0.0, 238 / 1e6, 0.5e-6, "laboratory", SAMANER, loss_given=False),
    MeasuredRate(0.0, 7e3 / 40e6, 0.5e3 / 40e6, "laboratory", TAPSIN, loss_given=False),
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
