"""Key length from the measured counts of a session, and not from a model of the link.

What a lab computes after a run. Counts are checked before they are used; a contradiction between
counts and source is an error and not a key.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.link import Constant, Link

from ..assumptions import session_assumptions
from ..decoy.attenuated_source import AttenuatedSource
from ..decoy.coherent_bounds import Bound, CoherentBounds, Intensities, elementary_eps
from ..decoy.finite_key import DecoyCounts, DecoyKey, decoy_key
from ..decoy.linear_program import AttenuatorProgram
from ..link_parameters import LinkParameters
from ..photon_statistics import largest_three_photon
from ..result import PHASE, Protocol
from ..single_photon.finite_key import Accounting, BasisCounts, key_from_counts
from ..source import SourceFigures
from .correction import Correction, checked, leak, with_correctness

Floats = NDArray[np.float64]
Security = Literal["published", "rigorous"]


@dataclass(frozen=True)
class SessionKey:
    """Key of a measured block.

    Attributes
    ----------
    protocol
        By name, with what stands behind the photon numbers.
    key_length
        Secret bits; 0 where there is no key.
    rate_per_pulse
        Secret bits per sent pulse.
    qber, phase_error
        Of the sifted key; upper bound on its phase-error rate.
    secure_detections
        Least sifted detections that came from single photons (with decoy states), or not from
        multi-photon pulses (without).
    leaked_bits, leak_measured
        Bits of error correction that were subtracted, and whether the session counted them.
    key_length_at_largest_p3
        Secret bits if three photons are as likely as g2 allows; None but for an attenuator.
    security
        "rigorous" or "published" tail bounds, see `qdchar.link.Link`.
    epsilon_secrecy, epsilon_correctness
        Probabilities that the key is not secret, and that the two keys differ unnoticed. The
        first holds `eps_source`.
    assumptions
        What the key's secrecy assumes, in sentences.
    p2_limit
        Upper limit of the multi-photon probability before pre-attenuation that was used; None
        with decoy states.
    eps_source
        Probability that the source is not within the limits that were used; None for coherent
        light.
    """

    protocol: str
    key_length: float
    rate_per_pulse: float
    qber: float
    phase_error: float
    secure_detections: float
    leaked_bits: float
    leak_measured: bool
    security: Security
    epsilon_secrecy: float
    epsilon_correctness: float
    assumptions: tuple[str, ...]
    p2_limit: float | None = None
    eps_source: float | None = None
    key_length_at_largest_p3: float | None = None


def single_photon_session(
    counts: BasisCounts,
    pulses_sent: float,
    source: SourceFigures | None,
    link: Link,
    *,
    p_z: float,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    attenuation: float = 1.0,
    p2_limit: float | None = None,
    eps_source: float | None = None,
    correction: Correction | None = None,
) -> SessionKey:
    """Key of a session with a single-photon source without decoy states.

    Parameters
    ----------
    counts
        Measured; whole numbers.
    pulses_sent
        Pulses of the session.
    source
        <n> and g2 before pre-attenuation, with their uncertainties; None where `p2_limit` is
        given and the number of detections is not to be checked against <n>.
    link
        Security constants and Bob's basis choice; the bounds are rigorous unless it asks for the
        published ones.
    p_z
        Alice's Z probability.
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    attenuation
        The pre-attenuation that was set.
    p2_limit
        Upper limit of the multi-photon probability before pre-attenuation, e.g. from
        `qdchar.keyrate.photon_statistics.multiphoton_limit`; default the upper limit of the
        source's g2 <n>^2 / 2. The best estimate is no limit: the key is secret only if the true
        probability is not larger.
    eps_source
        Probability that the multi-photon probability exceeds its limit; it adds to the secrecy
        parameter. Needed with `p2_limit`; default else the link's secrecy parameter.
    correction
        What error correction and verification disclosed; default not counted.

    Raises
    ------
    UsageError
        A count is not a whole number of 0 or more, or a part exceeds its whole; a setting is out
        of its range; there is no limit of the multi-photon probability.
    InconclusiveError
        More detections than the source's photons can have made: <n> is not this session's.
    """
    correction = checked(correction)
    link = with_correctness(link, correction)
    _check(counts)
    _check_setting(pulses_sent, p_z, counts)
    if not 0 < attenuation <= 1:
        raise UsageError("session: attenuation is a transmission: more than 0, at most 1")
    if p2_limit is not None and eps_source is None:
        raise UsageError(
            "session: p2_limit without eps_source: say with which probability the multi-photon "
            "probability exceeds the limit, for example eps_source = 1e-10"
        )
    eps_source = _checked_eps_source(eps_source, link)
    if p2_limit is None:
        if source is None:
            raise UsageError("session: neither p2_limit nor a source with its uncertainties")
        p2_limit = source.multiphoton_upper(eps_source)
    if not 0 <= p2_limit <= 1:
        raise UsageError("session: p2_limit is a probability: at least 0, at most 1")
    if source is not None:
        n = attenuation * source.mean_photon_number.value
        _check_detections(
            counts,
            n,
            pulses_sent * p_z,
            link.dark_count_probability + link.background_count_probability,
        )
    key = key_from_counts(
        _floats(counts),
        np.asarray(pulses_sent, dtype=np.float64),
        np.asarray(attenuation**2 * p2_limit),
        np.asarray(p_z),
        np.asarray(attenuation),
        _security_constants(link),
        PHASE[protocol],
        accounting,
        correction.leaked_bits,
    )
    return SessionKey(
        **leak(counts.sifted, float(key.qber), link, correction),
        protocol=f"{protocol}, single photons, accounting {accounting}",
        key_length=float(np.floor(key.key_length)),
        rate_per_pulse=float(key.rate),
        qber=float(key.qber),
        phase_error=float(key.phase_error),
        secure_detections=float(np.maximum(key.sifted_nonmultiphoton, 0.0)),
        security=_security(link),
        epsilon_secrecy=link.epsilon_secrecy + eps_source,
        epsilon_correctness=link.epsilon_correctness,
        assumptions=session_assumptions(accounting, link.receiver, eps_source),
        p2_limit=p2_limit,
        eps_source=eps_source,
    )


def coherent_session(
    counts: DecoyCounts,
    pulses_sent: float,
    light: Intensities,
    link: Link,
    *,
    p_z: float,
    protocol: Protocol = "efficient-bb84",
    bound: Bound = "yin",
    correction: Correction | None = None,
) -> SessionKey:
    """Key of a session with coherent light and decoy states.

    Parameters
    ----------
    counts
        Measured, per setting, strongest first.
    pulses_sent
        Pulses of the session, over all settings.
    light
        Means and shares of the settings.
    link
        Security constants.
    p_z, protocol, correction
        As in `single_photon_session`.
    bound
        Tail bounds, "yin" or "hoeffding".
    """
    correction = checked(correction)
    link = with_correctness(link, correction)
    _check_intensities(light.mean, light.share)
    _check(counts, settings=len(light.mean))
    _check_setting(pulses_sent, p_z, counts)
    given = _security_constants(link)
    bounds = CoherentBounds(light, elementary_eps(given), bound)
    key = decoy_key(
        _floats(counts),
        np.asarray(pulses_sent),
        np.asarray(p_z),
        bounds,
        given,
        PHASE[protocol],
        correction.leaked_bits,
    )
    decoys = "vacuum + weak decoy" if len(light.mean) == 3 else "one decoy"
    return _session(
        f"{protocol}, coherent light, {decoys}, {bound} bounds",
        key,
        link,
        None,
        leak(counts.sifted, float(key.qber), link, correction),
    )


def attenuator_session(
    counts: DecoyCounts,
    pulses_sent: float,
    source: SourceFigures,
    transmission: ArrayLike,
    share: ArrayLike,
    link: Link,
    *,
    p_z: float,
    p3_max: float = 0.0,
    protocol: Protocol = "efficient-bb84",
    eps_source: float | None = None,
    correction: Correction | None = None,
) -> SessionKey:
    """Key of a session with single photons and a switched attenuator as decoy.

    The key is the shortest that the proof gives at the corners of the box in which <n> and g2 lie.

    Parameters
    ----------
    counts
        Measured, per setting: open, weak, blocked.
    pulses_sent
        Pulses of the session, over all settings.
    source
        <n> and g2 with the attenuator open, with their uncertainties.
    transmission, share
        Of the settings: (1, weak, blocked), and how often each was sent. The blocked one may let
        some light through.
    link
        Security constants.
    p_z, protocol, correction
        As in `single_photon_session`.
    p3_max
        Largest probability of three photons in a pulse; see
        `qdchar.keyrate.decoy.attenuated_source`.
    eps_source
        Probability that <n> and g2 are not in the box; it adds to the secrecy parameter. Default
        the link's secrecy parameter.

    Raises
    ------
    UsageError
        As in `single_photon_session`; <n> or g2 has no uncertainty.
    InconclusiveError
        No photon-number yields can explain the counts: the source or the attenuator is not what
        it is said to be.
    """
    correction = checked(correction)
    link = with_correctness(link, correction)
    _check(counts, settings=3)
    _check_setting(pulses_sent, p_z, counts)
    a, q = (np.asarray(x, dtype=np.float64) for x in (transmission, share))
    if a.shape != (3,) or a[0] != 1 or not 0 <= a[2] < a[1] < 1:
        raise UsageError(
            "session: the transmissions are (1, weak, blocked): weak between 0 and 1, blocked 0 or "
            "more and less than weak"
        )
    if q.shape != (3,) or np.any(q <= 0) or abs(q.sum() - 1) > 1e-9:
        raise UsageError("session: three shares above 0 that add up to 1")
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    largest_p3 = float(largest_three_photon(n, g2))
    if not 0 <= p3_max <= largest_p3:
        raise UsageError(
            f"session: p3_max = {p3_max!r}: must be between 0 and g2 <n>^2 / 6 = "
            f"{largest_p3:.3g}; above it, the probability of two photons is negative"
        )
    source.check_uncertain()
    eps_source = _checked_eps_source(eps_source, link)
    given = _security_constants(link)
    eps = elementary_eps(given)
    behind = AttenuatedSource(np.asarray(n), np.asarray(g2), a, q, np.asarray(p3_max))
    bounds = AttenuatorProgram(behind, eps)
    whole = _floats(counts)
    for events, prepared in ((whole.sifted, p_z), (whole.test, 1 - p_z)):
        if not bounds.explains(events, np.asarray(prepared * pulses_sent)):
            raise InconclusiveError(
                "session: no photon-number yields Y_n explain the counts of the three attenuator "
                "settings; check <n>, g2, the transmission of the weak setting and the shares of "
                "the settings"
            )

    def shortest(p3: float) -> DecoyKey:
        keys = [
            decoy_key(
                whole,
                np.asarray(pulses_sent),
                np.asarray(p_z),
                AttenuatorProgram(
                    replace(
                        behind,
                        n=np.asarray(n_),
                        g2=np.asarray(g2_),
                        p3_max=np.minimum(p3, largest_three_photon(n_, g2_)),
                    ),
                    eps,
                ),
                given,
                PHASE[protocol],
                correction.leaked_bits,
            )
            for n_, g2_ in source.limits(eps_source)
        ]
        return min(keys, key=lambda k: float(k.key_length))

    key = shortest(p3_max)
    worst = key if p3_max == largest_p3 else shortest(largest_p3)
    name = f"{protocol}, single photons with attenuator decoy, p3 <= {p3_max:g}"
    disclosed = leak(counts.sifted, float(key.qber), link, correction)
    return replace(
        _session(name, key, link, eps_source, disclosed),
        key_length_at_largest_p3=float(np.floor(worst.key_length)),
    )


def _session(
    name: str, key: DecoyKey, link: Link, eps_source: float | None, disclosed: dict[str, Any]
) -> SessionKey:
    return SessionKey(
        **disclosed,
        protocol=name,
        key_length=float(np.floor(key.key_length)),
        rate_per_pulse=float(key.rate),
        qber=float(key.qber),
        phase_error=float(key.phase_error),
        secure_detections=float(key.single),
        security=_security(link),
        epsilon_secrecy=link.epsilon_secrecy + (eps_source or 0.0),
        epsilon_correctness=link.epsilon_correctness,
        assumptions=session_assumptions(
            "coherent" if eps_source is None else "decoy", link.receiver, eps_source
        ),
        eps_source=eps_source,
    )


def _security(link: Link) -> Security:
    """Return what the link asks for; a key of measured counts has rigorous bounds by default."""
    return link.security or "rigorous"


def _security_constants(link: Link) -> LinkParameters:
    # the counts hold what the detectors did, their dead time included
    seen = link.model_copy(update={"dead_time": Constant(value=0.0)})
    return replace(LinkParameters.from_link(seen), rigorous=_security(link) == "rigorous")


def _checked_eps_source(eps_source: float | None, link: Link) -> float:
    """Return the source's failure probability; by default the link's secrecy parameter."""
    if eps_source is None:
        return link.epsilon_secrecy
    if not 0 < eps_source < 0.5:
        raise UsageError(
            f"session: eps_source = {eps_source:g}: a failure probability is more than 0, less "
            "than 0.5"
        )
    return eps_source


def _floats(counts: Any) -> Any:
    """Return the same counts as arrays of floats."""
    return type(counts)(
        *(np.asarray(getattr(counts, f.name), dtype=np.float64) for f in fields(counts))
    )


def _check(counts: BasisCounts | DecoyCounts, settings: int | None = None) -> None:
    """Refuse what cannot be counts of a session."""
    shape = () if settings is None else (settings,)
    for f in fields(counts):
        value = np.asarray(getattr(counts, f.name), dtype=np.float64)
        if value.shape != shape:
            expected = "one number" if settings is None else f"{settings} numbers, one a setting"
            raise UsageError(f"session: {f.name} has shape {value.shape}, expected {expected}")
        if not np.all((value >= 0) & (value == np.floor(value))):
            raise UsageError(f"session: {f.name} = {value}: counts are whole numbers, 0 or more")
    for part, whole in (
        ("sifted_errors", "sifted"),
        ("test_errors", "test"),
        ("crossed_right", "crossed"),
    ):
        if np.any(np.asarray(getattr(counts, part)) > np.asarray(getattr(counts, whole))):
            raise UsageError(f"session: {part} exceeds {whole}")


def _check_detections(counts: BasisCounts, n: float, pulses: float, p_dark: float) -> None:
    """Refuse more detections with Alice in Z than her photons and the dark counts can make."""
    detections = float(np.asarray(counts.sifted) + np.asarray(counts.crossed))
    most = (n + p_dark) * pulses
    # 6 standard deviations of the count: no session of any laboratory exceeds it by chance
    if detections > most + 6 * np.sqrt(most):
        raise InconclusiveError(
            f"session: {detections:.6g} detections with Alice in Z, but <n> = {n:.4g} after "
            f"pre-attenuation makes at most {most:.6g}; measure the source again, or check the "
            "attenuation and the number of pulses"
        )


def _check_intensities(mean: Floats, share: Floats) -> None:
    """Refuse settings that the closed-form bounds are not made for."""
    if mean.shape != share.shape or len(mean) not in (2, 3):
        raise UsageError("session: two or three means, and as many shares")
    if np.any(share <= 0) or abs(share.sum() - 1) > 1e-9:
        raise UsageError("session: shares are above 0 and add up to 1")
    if not mean[0] > mean[1] > 0 or (len(mean) == 3 and mean[2] != 0):
        raise UsageError(
            "session: means fall from the signal; with three the last is the vacuum, 0"
        )


def _check_setting(pulses_sent: float, p_z: float, counts: BasisCounts | DecoyCounts) -> None:
    """Refuse settings out of their range, and more detections than Alice sent pulses."""
    if not 0 < pulses_sent <= 1e30:
        raise UsageError("session: pulses_sent is above 0, and at most 1e30")
    if not 0 < p_z < 1:
        raise UsageError("session: p_z is more than 0 and less than 1")
    # 6 standard deviations of how many of the pulses were sent in a basis
    chance = 6 * np.sqrt(pulses_sent * p_z * (1 - p_z))
    for basis, share, detected in (
        ("Z", p_z, np.sum(counts.sifted) + np.sum(counts.crossed)),
        ("the other basis", 1 - p_z, np.sum(counts.test)),
    ):
        most = min(share * pulses_sent + chance, pulses_sent)
        if detected > most:
            raise UsageError(
                f"session: {float(detected):.6g} detections with Alice in {basis}, but of "
                f"{pulses_sent:.6g} pulses at p_z = {p_z:g} she sent at most {most:.6g} in it; "
                "check pulses_sent and p_z"
            )
