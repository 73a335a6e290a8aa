"""What a key rate assumes, in the sentences that stand beside it in every output."""

from __future__ import annotations

from typing import Literal

_GIVEN_UP: dict[str, str] = {
    "alice": "Multi-photon pulses: all that Alice prepares in a basis count as detected there and "
    "are given up. This is the literature's more conservative convention, not a proof with fewer "
    "assumptions.",
    "joint": "Multi-photon pulses: those that Alice prepares in a basis and for which Bob chooses "
    "the same basis count as detected and are given up.",
    "decoy": "Multi-photon pulses: a switched attenuator shows the yield of single photons. It "
    "changes the mean photon number and nothing else: not the spectrum, the timing, the "
    "polarisation or g2. No pulse holds more than three photons, and three with at most the "
    "probability p3_max, which is 0 unless it is given.",
    "coherent": "Multi-photon pulses: decoy intensities show the yield of single photons. They "
    "differ in the mean photon number and in nothing else, and the photon numbers have Poisson's "
    "distribution.",
}

_INDEPENDENT = (
    "Basis choice: for every pulse Bob's choice is independent of the signal, because the phase "
    "error of the key is sampled in the test basis. "
)

_CHOICE: dict[str, str] = {
    "active": _INDEPENDENT + "Bob's own random numbers make it, for undetected pulses as well.",
    "passive": _INDEPENDENT + "A beam splitter makes it: nothing in the signal (wavelength, "
    "polarisation, number of photons) changes its ratio.",
}

_ONE_PHOTON = (
    " Two photons of one pulse change the shares of the two bases there, so that this accounting "
    "also assumes that at most one reaches it."
)

_RECEIVER = (
    "Receiver: all detectors are equally efficient, and none is dead while others are live at a "
    "time that an eavesdropper chooses; if several click, a fair coin picks the basis and then the "
    "outcome."
)

_PHASE = (
    "Phase randomisation: there is no phase coherence between photon numbers. A laser, and a dot "
    "that is driven on resonance, need their phase randomised."
)

_SOURCE = (
    "Source: pulses are independent of one another; the photon numbers are those at the channel's "
    "input: <n> and g2 time-averaged, nothing subtracted, leaked laser light included."
)

_NOT_TREATED = (
    "Not treated: Trojan-horse light and other leaks of the transmitter, imperfect preparation of "
    "the states, detectors controlled by bright light or unlike in efficiency, and the "
    "authentication of the classical channel."
)


def prediction_assumptions(
    accounting: Literal["alice", "joint", "decoy"],
    receiver: Literal["passive", "active"],
    eps_source: float | None,
) -> tuple[str, ...]:
    """Sentences that say what a predicted key rate assumes.

    Parameters
    ----------
    accounting
        How multi-photon pulses are counted; "decoy" with decoy states.
    receiver
        How Bob chooses his basis.
    eps_source
        Failure probability of the source's limits; None where its best estimates are used.

    Returns
    -------
    tuple of str
        Accounting, source's uncertainty, basis choice, receiver, phase randomisation, source, and
        what is not treated.
    """
    if eps_source is None:
        limit = (
            "Source's uncertainty: <n> and g2 are taken at their best estimates. That predicts a "
            "rate; it is no proof that a key is secret."
        )
    else:
        limit = _within_limits(eps_source)
    return (
        _GIVEN_UP[accounting],
        limit,
        *_after_the_source(accounting, receiver),
    )


def session_assumptions(
    accounting: Literal["alice", "joint", "decoy", "coherent"],
    receiver: Literal["passive", "active"],
    eps_source: float | None,
) -> tuple[str, ...]:
    """Sentences that say what the secrecy of a key from measured counts assumes.

    Parameters
    ----------
    accounting
        As in `prediction_assumptions`; "coherent" for a laser with decoy intensities.
    receiver
        How Bob chose his basis.
    eps_source
        Failure probability of the source's limits; None for coherent light.
    """
    limit = "Source's uncertainty: the mean photon numbers of the intensities are exact."
    if eps_source is not None:
        limit = _within_limits(eps_source)
    return (_GIVEN_UP[accounting], limit, *_after_the_source(accounting, receiver))


def _within_limits(eps_source: float) -> str:
    return (
        "Source's uncertainty: the source is within limits that fail with probability "
        f"{eps_source:.2g}; this adds to the secrecy parameter. Limits that follow from <n> and g2 "
        "take their errors as normal."
    )


def _after_the_source(accounting: str, receiver: str) -> tuple[str, ...]:
    choice = _CHOICE[receiver]
    if accounting == "joint" and receiver == "passive":
        choice += _ONE_PHOTON
    return (
        choice,
        _RECEIVER,
        _PHASE,
        _SOURCE,
        _NOT_TREATED,
    )
