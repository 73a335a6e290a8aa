"""What the first screen says of the key rate: how large, compared with what, limited by what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdchar.errors import QdcharError
from qdchar.estimate import Estimate
from qdchar.keyrate import KeyRate, predict
from qdchar.keyrate.source import SourceFigures
from qdchar.lab.outcome import Outcome
from qdchar.link import Constant, Link
from qdchar.notation import concise
from qdchar.quantities import quantity
from qdchar.record import SourceRecord

from . import table1, wording

_BETTER = 0.1
"""By how much each quantity is made better, to find those that limit the key rate [1]."""

_FELT = 1e-3
"""Least relative gain of the rate for which a quantity is said to limit it."""

_HIGHER_IS_BETTER = ("mean_photon_number", "fiber_optics_efficiency", "detector_efficiency")
_LOWER_IS_BETTER = ("g2_zero", "misalignment", "dark_count_rate")


@dataclass(frozen=True)
class Limit:
    """A quantity that limits the key rate.

    Attributes
    ----------
    gain
        By what fraction the rate grows if the quantity is a tenth better [1].
    """

    name: str
    words: str
    value: str
    gain: float

    @property
    def gain_text(self) -> str:
        """How much the rate would gain, in words."""
        return f"{100.0 * self.gain:+.2g} %"

    @property
    def change_text(self) -> str:
        """What "better" means."""
        return f"{100 * _BETTER:.0f} % {'higher' if self.name in _HIGHER_IS_BETTER else 'lower'}"


@dataclass(frozen=True)
class Lead:
    """The key rate beside one protocol of coherent light, as text."""

    name: str
    words: str
    description: str
    rate: str
    lead: str
    same_protocol: bool


@dataclass(frozen=True)
class Headline:
    """Key rate of a run, as text.

    Attributes
    ----------
    rate, band, kbps
        Secret bits per pulse with the standard uncertainty, the 95 % band of it, and kbit/s.
    sentence
        How the rate compares with coherent light in the same protocol.
    state
        "above", "below" or "level": whether by two standard uncertainties.
    """

    rate: str
    band: str
    kbps: str
    sentence: str
    state: str
    leads: tuple[Lead, ...]
    limits: tuple[Limit, ...]
    from_what: str


def headline(outcome: Outcome, source: SourceFigures) -> Headline:
    """Put together what the first screen says about the key rate."""
    rate = outcome.rate
    u = rate.rate_per_pulse_u
    as_estimate = (rate.rate_per_pulse, u)
    sentence, state = _against_same_protocol(rate)
    return Headline(
        rate=wording.powers(concise(*as_estimate)),
        band=_band(*as_estimate),
        kbps=concise(rate.rate_bps / 1e3, rate.rate_bps_u / 1e3),
        sentence=sentence,
        state=state,
        leads=_leads(rate),
        limits=limits(outcome, source),
        from_what=_from_what(rate),
    )


def _band(rate: float, u: float) -> str:
    """Write the 95 % band of the rate; a rate is not negative."""
    if u == 0:
        return ""
    low, high = max(rate - 2 * u, 0.0), rate + 2 * u
    written = concise(high, 0.5 * u)
    exponent = int(written.partition("e")[2] or 0)
    decimals = len(written.partition("(")[0].partition(".")[2])
    low_text = f"{low / 10.0**exponent:.{decimals}f}"
    high_text = f"{high / 10.0**exponent:.{decimals}f}"
    return wording.powers(f"[{low_text}, {high_text}]" + (f"e{exponent}" if exponent else ""))


def _against_same_protocol(rate: KeyRate) -> tuple[str, str]:
    for c in rate.comparators:
        if c.name == rate.comparator_name:
            other = f"{wording.light(c.name)} ({wording.powers(concise(c.rate_per_pulse, 0.0))})"
            if c.advantage_dB is None or c.advantage_dB_u is None:
                return f"no finite lead over {other}", "level"
            lead = concise(abs(c.advantage_dB), c.advantage_dB_u)
            way = "above" if c.advantage_dB >= 0 else "below"
            clear = abs(c.advantage_dB) >= 2 * c.advantage_dB_u
            doubt = "" if clear else ", which is within two standard uncertainties"
            return f"{lead} dB {way} {other}{doubt}", way if clear else "level"
    return "", "level"


def _leads(rate: KeyRate) -> tuple[Lead, ...]:
    from qdchar.keyrate.comparators import COMPARATORS

    leads = []
    for c in rate.comparators:
        lead = "no key on one side"
        if c.advantage_dB is not None and c.advantage_dB_u is not None:
            lead = f"{'+' if c.advantage_dB >= 0 else '−'}" + (
                f"{concise(abs(c.advantage_dB), c.advantage_dB_u)} dB"
            )
        leads.append(
            Lead(
                c.name,
                wording.light(c.name),
                COMPARATORS[c.name].description,
                wording.powers(concise(c.rate_per_pulse, 0.0)),
                lead,
                c.name == rate.comparator_name,
            )
        )
    return tuple(leads)


def _from_what(rate: KeyRate) -> str:
    """Name the error source that the rate's uncertainty is mostly from."""
    total = rate.rate_per_pulse_u**2
    if total == 0:
        return ""
    largest = max(rate.budget, key=lambda c: abs(c.u))
    return f"{largest.source} ({100.0 * largest.u**2 / total:.0f} % of the variance)"


def limits(outcome: Outcome, source: SourceFigures) -> tuple[Limit, ...]:
    """Return the quantities that limit the key rate, the one that limits it most first.

    Each is made a tenth better, the others are held, and settings are optimised again. The
    channel's loss is not among them.
    """
    if outcome.rate.rate_per_pulse <= 0:
        return ()
    link = _with_measured_misalignment(outcome.link, outcome.record)
    found = []
    for name in (*_HIGHER_IS_BETTER, *_LOWER_IS_BETTER):
        factor = 1 + _BETTER if name in _HIGHER_IS_BETTER else 1 - _BETTER
        try:
            rate = _rate(outcome, *_changed(source, link, name, factor))
        except QdcharError:
            continue  # a tenth more is not possible: an efficiency above 1
        gain = rate / outcome.rate.rate_per_pulse - 1.0
        estimate = _estimate(outcome.record, link, name)
        found.append(Limit(name, quantity(name).words, wording.value(estimate), gain))
    felt = [limit for limit in found if limit.gain >= _FELT]
    return tuple(sorted(felt, key=lambda limit: -limit.gain))


def _with_measured_misalignment(link: Link, record: SourceRecord) -> Link:
    measured = record.quantities.get("misalignment")
    if measured is None:
        return link
    return link.model_copy(update={"misalignment": Constant(value=measured.value)})


def _estimate(record: SourceRecord, link: Link, name: str) -> Estimate:
    of_source = name in record.quantities and name in table1.FROM_RECORD
    return record.estimate(name) if of_source else link.estimates()[name]


def _changed(
    source: SourceFigures, link: Link, name: str, factor: float
) -> tuple[SourceFigures, Link]:
    """Multiply one quantity of source or link by a factor."""
    if name in ("mean_photon_number", "g2_zero"):
        before: Estimate = getattr(source, name)
        return replace(source, **{name: replace(before, value=factor * before.value)}), link
    given: Constant = getattr(link, name)
    changed = link.model_dump(exclude={"channel_parts"})
    changed[name] = {"value": factor * given.value}
    return source, Link.model_validate(changed)


def _rate(outcome: Outcome, source: SourceFigures, link: Link) -> float:
    (rate,) = predict(
        source,
        link,
        protocol=outcome.recipe.protocol,
        accounting=outcome.recipe.accounting,
        comparators=(),
    )
    return rate.rate_per_pulse
