"""A session's counts in a TOML file, and the key that they hold.

Without decoy states, one number a count::

    light = "single-photon"
    protocol = "efficient-bb84"
    pulses_sent = 26_573_909_635
    p_z = 0.97
    attenuation = 0.87
    p2_limit = 3.1e-4            # upper limit of P(more than one photon), unattenuated, and
    eps_source = 1e-10           # the probability that it is exceeded
    [counts]
    sifted = 87_300_000
    sifted_errors = 2_219_039
    test = 300_000
    test_errors = 7_626
    crossed = 9_700_000          # Alice in Z, Bob in the other basis
    crossed_right = 4_850_000    # of the outcome that Alice also sends; three states need both
    [correction]                 # what was disclosed; without it f h(QBER) N is taken
    leaked_bits = 17_300_000     # by error correction, every parity counted
    verification_bits = 50       # length of the hash that was compared
    verified = true              # false: the keys differ, and there is none

Without `p2_limit` the limit is that of the source's <n> and g2, which need their uncertainties;
`eps_source` is then the link's secrecy parameter unless the file or the command says otherwise.

With decoy states, one number a setting, strongest first, and what the settings are::

    light = "attenuator"         # single photons; or "coherent"
    [settings]
    transmission = [1.0, 0.3, 2e-5]  # the last is blocked: 0, or what it lets through
    # "coherent": mean = [0.41, 0.08, 0.0]
    share = [0.93, 0.06, 0.01]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, ValidationError

from qdchar.errors import UsageError
from qdchar.files import PathLike, read_toml
from qdchar.link import Link
from qdchar.toml_table import TomlTable

from ..decoy.coherent_bounds import Intensities
from ..decoy.finite_key import DecoyCounts
from ..result import Protocol
from ..single_photon.finite_key import Accounting, BasisCounts
from ..source import SourceFigures
from .correction import Correction
from .key import SessionKey, attenuator_session, coherent_session, single_photon_session

_MOST_COUNTS = 2**53


def _counts_single_clicks(number: int) -> int:
    if abs(number) > _MOST_COUNTS:
        raise ValueError(f"at most 2^53 = {_MOST_COUNTS} can be counted to the last one")
    return number


Count = Annotated[int, AfterValidator(_counts_single_clicks)]
Counts = Count | tuple[Count, ...]


class CountTable(TomlTable):
    """The counts, one number each or one a setting; see the module's text."""

    sifted: Counts
    sifted_errors: Counts
    test: Counts
    test_errors: Counts
    crossed: Counts | None = None
    crossed_right: Counts | None = None


class CorrectionTable(TomlTable):
    """What error correction and verification disclosed; see the module's text."""

    leaked_bits: Count | None = None
    verification_bits: Count | None = None
    verified: bool = True


class SettingTable(TomlTable):
    """What the decoy settings are, strongest first."""

    share: tuple[float, ...]
    transmission: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    p3_max: float = 0.0


class SessionFile(TomlTable):
    """A session: light, protocol, what Alice set, and what was counted."""

    light: Literal["single-photon", "attenuator", "coherent"]
    protocol: Protocol = "efficient-bb84"
    accounting: Accounting = "alice"
    pulses_sent: float
    p_z: float
    attenuation: float = 1.0
    p2_limit: float | None = None
    eps_source: float | None = None
    counts: CountTable
    settings: SettingTable | None = None
    correction: CorrectionTable = CorrectionTable()


def load_session(path: PathLike) -> SessionFile:
    """Read a session file.

    Raises
    ------
    UsageError
        The file cannot be read, or a key is missing, unknown or of the wrong kind.
    """
    path = Path(path)
    try:
        return SessionFile.model_validate(read_toml(path))
    except ValidationError as error:
        lines = [
            f"session file {path}: {'.'.join(str(part) for part in problem['loc'])}: "
            f"{problem['msg'][0].lower()}{problem['msg'][1:]}"
            for problem in error.errors()
        ]
        raise UsageError("\n".join(lines)) from error


_SOURCE_WITH_UNCERTAINTIES = (
    "the source with its uncertainties: a record, or --source n=...,g2=...,n_u=...,g2_u=..."
)


def session_key(
    session: SessionFile,
    source: SourceFigures | None,
    link: Link,
    *,
    p2_limit: float | None = None,
    eps_source: float | None = None,
) -> SessionKey:
    """Key of a session.

    Parameters
    ----------
    session
        Counts and what Alice set.
    source
        The single-photon source, with its uncertainties unless the session has a `p2_limit`; None
        where it is not known. Not used with coherent light.
    link
        Security constants and Bob's basis choice.
    p2_limit, eps_source
        Instead of the file's, which may then not hold them.

    Raises
    ------
    UsageError
        There is no limit of the multi-photon probability, or a key of the file does not go with
        its light; otherwise as in `qdchar.keyrate.measured.key`.
    InconclusiveError
        As in `qdchar.keyrate.measured.key`.
    """
    for name, given in (("p2_limit", p2_limit), ("eps_source", eps_source)):
        if given is not None and getattr(session, name) is not None:
            raise UsageError(f"session: {name} is given twice, in the file and beside it")
        if given is not None:
            session = session.model_copy(update={name: given})
    _check_limit(session, source)
    if session.protocol == "three-state" and None in (
        session.counts.crossed,
        session.counts.crossed_right,
    ):
        raise UsageError(
            "session: three states need the detections of Alice in Z and Bob in the other basis, "
            "which stand in for the missing state: give counts.crossed and counts.crossed_right"
        )
    counts = {name: np.asarray(0 if value is None else value) for name, value in session.counts}
    correction = Correction(**dict(session.correction))
    if session.light == "single-photon":
        if session.settings is not None:
            raise UsageError("session: [settings] is for light = 'attenuator' or 'coherent'")
        return single_photon_session(
            BasisCounts(**counts),
            session.pulses_sent,
            source,
            link,
            p_z=session.p_z,
            protocol=session.protocol,
            accounting=session.accounting,
            attenuation=session.attenuation,
            p2_limit=session.p2_limit,
            eps_source=session.eps_source,
            correction=correction,
        )
    settings = session.settings
    asked = "transmission" if session.light == "attenuator" else "mean"
    if settings is None or getattr(settings, asked) is None:
        raise UsageError(f"session: light = {session.light!r} needs [settings] {asked} and share")
    per_setting = DecoyCounts(
        **{
            n: np.zeros(len(settings.share)) if c.ndim == 0 and c == 0 else c
            for n, c in counts.items()
        }
    )
    if session.light == "attenuator":
        assert source is not None
        return attenuator_session(
            per_setting,
            session.pulses_sent,
            source,
            np.asarray(settings.transmission),
            np.asarray(settings.share),
            link,
            p_z=session.p_z,
            p3_max=settings.p3_max,
            protocol=session.protocol,
            eps_source=session.eps_source,
            correction=correction,
        )
    mean, share = np.asarray(settings.mean, dtype=np.float64), np.asarray(settings.share)
    return coherent_session(
        per_setting,
        session.pulses_sent,
        Intensities(mean, share),
        link,
        p_z=session.p_z,
        protocol=session.protocol,
        correction=correction,
    )


def _check_limit(session: SessionFile, source: SourceFigures | None) -> None:
    """Refuse single photons whose multi-photon probability has no upper limit."""
    if session.p2_limit is not None:
        if session.light != "single-photon":
            raise UsageError("session: p2_limit is for light = 'single-photon'")
        return
    if session.light == "coherent":
        if session.eps_source is not None:
            raise UsageError("session: eps_source is for single photons")
        return
    try:
        if source is None:
            raise UsageError("no source was given")
        source.check_uncertain()
    except UsageError as error:
        key = (
            "p2_limit and eps_source in the session file, or "
            if session.light == "single-photon"
            else ""
        )
        raise UsageError(
            "session: the multi-photon probability has no upper limit, without which no key is "
            f"secret ({error}); give {key}{_SOURCE_WITH_UNCERTAINTIES}"
        ) from None
