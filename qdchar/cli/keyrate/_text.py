"""Key rates as tables of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qdchar.keyrate.comparators import COMPARATORS
from qdchar.keyrate.crossing import beyond_search
from qdchar.keyrate.published.values import PAPER, measured_at
from qdchar.keyrate.result import advantage_dB
from qdchar.notation import concise, text

if TYPE_CHECKING:
    from qdchar.estimate import Estimate, Uncertain
    from qdchar.keyrate import Comparison, KeyRate, SourceFigures
    from qdchar.keyrate.measured.key import SessionKey
    from qdchar.keyrate.no_key import NoKey
    from qdchar.keyrate.over_time import CoherentOverTime, KeyOverTime
    from qdchar.keyrate.published.account import Nu, Pull
    from qdchar.keyrate.published.variants import Reproduction
    from qdchar.link import Link


def prediction_text(
    points: Sequence[KeyRate],
    limited: Sequence[KeyRate],
    source: SourceFigures,
    link: Link,
    lead_ends: Mapping[str, Estimate | None],
) -> str:
    """Rates of a source over loss, and coherent light on the same link.

    Parameters
    ----------
    points
        One per loss.
    limited
        The same with the source at its limits; empty where it has none.
    source, link
        What they were predicted from.
    lead_ends
        Comparator to the loss at which the source's lead ends, None where it never leads; empty
        where these losses were not computed.
    """
    names = [c.name for c in points[0].comparators]
    return "\n".join(
        [
            *_heading(points[0], source, link),
            "",
            *_rates(points, limited, source),
            "",
            *_like_with_like(points, limited),
            "",
            *_coherent_light(points, lead_ends),
            "",
            *(f"{name}: {COMPARATORS[name].description}" for name in names),
            "",
            "What the rate assumes",
            *(f"  {sentence}" for sentence in points[0].assumptions),
        ]
    )


def no_key_text(zeros: Mapping[float, NoKey]) -> str:
    """Why there is no key at these losses, and what would lift it."""
    lines = []
    for loss, zero in zeros.items():
        lines += [f"No key at {loss:g} dB: {zero.term}."]
        lines += [f"  {lift}" for lift in zero.lifts]
        if not zero.lifts:
            lines.append("  no change of a single quantity gives one")
    return "\n".join(lines)


def loss_text(loss: Estimate) -> str:
    """Write a loss with its uncertainty, or as the lower limit that it is."""
    return f"{loss.value:g} dB or more" if beyond_search(loss) else text(loss)


def pass_text(
    keys: Sequence[KeyOverTime], light: CoherentOverTime, leads: Sequence[Uncertain | None]
) -> str:
    """Key of a pass with the source at its best estimates, and at its limits where it has any.

    Parameters
    ----------
    keys
        One or two.
    light
        Coherent light with the same protocol on the same link.
    leads
        The keys over that of coherent light [dB], None without one.
    """
    first = keys[0]
    lines = [f"{first.protocol}, accounting {first.accounting}"]
    for key in keys:
        if key.eps_source is None:
            lines.append("Source at its best estimates")
        else:
            lines.append(f"Source at limits exceeded with probability {key.eps_source:.2g}")
        lines += [
            f"  secret key    {key.key_length:.0f} bit from {key.start_s:g} s to {key.stop_s:g} s, "
            f"the best start and stop ({key.key_length_of_all:.0f} bit from all of it)",
        ]
        if key.key_length > 0 and key.key_length_u > 0:
            u, share = float(f"{key.key_length_u:.2g}"), key.key_length_u / key.key_length
            lines.append(f"  uncertainty   {u:.0f} bit ({100 * share:.2g} %), of source and link")
        lines += [
            f"  settings      p_z {key.p_z:.4f}, pre-attenuation {key.attenuation:.3f}",
            f"  QBER          {100 * key.qber:.3f} %; phase error {100 * key.phase_error:.2f} % "
            "at most",
        ]
    texts = ["no key" if lead is None else _lead(lead) for lead in leads]
    lead = "; with the source at its limits ".join(texts)
    lines += [
        f"Like with like: {light.name}, coherent light with the same protocol on the same link",
        f"  secret key    {light.key_length:.0f} bit from {light.start_s:g} s to {light.stop_s:g} "
        f"s ({light.key_length_of_all:.0f} bit from all of it)",
        f"  source's lead {lead}",
    ]
    return "\n".join([*lines, "", "What the key assumes", *(f"  {s}" for s in first.assumptions)])


def session_text(key: SessionKey) -> str:
    """Key of a session's counts."""
    lines = [
        key.protocol,
        f"secret key    {key.key_length:.0f} bit ({key.rate_per_pulse:.4g} per sent pulse)",
        f"QBER          {100 * key.qber:.3f} %",
        f"phase error   {100 * key.phase_error:.2f} % at most",
        f"secure        {key.secure_detections:.0f} of the sifted detections at least",
    ]
    if key.p2_limit is not None:
        lines.append(f"multi-photon  {key.p2_limit:.3g} per pulse before attenuation at most")
    how = "counted in the session" if key.leak_measured else "estimated, f h(QBER) N: not counted"
    lines.append(f"correction    {key.leaked_bits:.0f} bit disclosed ({how})")
    if key.key_length_at_largest_p3 is not None:
        lines.append(
            f"three photons {key.key_length_at_largest_p3:.0f} bit of key, if they are as likely "
            "as g2 allows (p3_max = g2 <n>^2 / 6)"
        )
    if key.eps_source is not None:
        lines.append(f"              exceeded with probability {key.eps_source:.2g}")
    lines += [
        f"secrecy       fails with probability {key.epsilon_secrecy:.2g}, all parts together",
        f"correctness   fails with probability {key.epsilon_correctness:.2g}",
        f"bounds        {key.security}",
        "",
        "What the key's secrecy assumes",
        *(f"  {sentence}" for sentence in key.assumptions),
    ]
    return "\n".join(lines)


def published_text(rows: Sequence[Reproduction]) -> str:
    """Every published number with what the variants of the computation give."""
    lines = []
    for row in rows:
        lines.append(f"\n{row.quantity}: {row.published:.4g} {row.unit} ({row.source})")
        lines += [f"    {name:<64}{_value(row, value)}" for name, value in row.computed]
    lines.append("\nNo variant within 5 % (0.25 dB):")
    for row in rows:
        name, deviation = row.closest
        if not row.reproduced:
            lines.append(f"    {row.quantity}: closest {_deviation(deviation, row.unit)}, {name}")
    return "\n".join(lines)


def account_text(
    rows: Sequence[Reproduction], nu: Nu, demanded: float, pulls: Sequence[Pull]
) -> str:
    """Write the relation of boundary and crossing, one account of the numbers, and its pulls."""
    from qdchar.keyrate.published.account import crossing_from_boundary

    low, high = (crossing_from_boundary(x) for x in (nu.advantages, nu.threshold))
    lines = [
        "",
        "Boundary and crossing: L_x = 10 log10(1.04 nu g2_4a / g2), whatever the accounting",
        f"    nu = {nu.advantages:.2f} by the paper's advantages, {nu.threshold:.2f} by threshold "
        "detectors",
        f"    the published 0.41 demands {low:.2f} to {high:.2f} dB; 19 dB demand nu = "
        f"{demanded:.2f}",
        "",
        f"One account: {rows[0].computed[0][0]}",
    ]
    for row in rows:
        value = row.computed[0][1]
        lines.append(
            f"    {row.quantity:<48}{row.published:>9.4g} {row.unit:<10}{_value(row, value)}"
        )
    lines += [
        "",
        "What alone makes each measured rate exact in this account (Table 1's uncertainties away)",
        f"{'dB':>8} {'computed/measured':>18} {'<n>':>16} {'g2':>18} {'error':>9}",
    ]
    for p in pulls:
        n = "-" if p.n is None else f"{p.n:.3f} ({p.n_sigma:+.1f})"
        g2 = "-" if p.g2 is None else f"{p.g2:.4f} ({p.g2_sigma:+.1f})"
        error = "-" if p.e_mis is None else f"{100 * p.e_mis:.2f} %"
        lines.append(f"{p.loss_dB:8.2f} {p.ratio_dB:>15.2f} dB {n:>16} {g2:>18} {error:>9}")
    return "\n".join(lines)


def _heading(first: KeyRate, source: SourceFigures, link: Link) -> list[str]:
    n, g2 = source.mean_photon_number, source.g2_zero
    block = f"block of {first.block:g} {first.block_kind} pulses"
    channel = []
    if link.channel_parts:
        parts = [f"{n} {concise(p.value, p.u)} dB" for n, p in link.channel_parts.items()]
        loss = link.channel_loss
        channel = [f"Channel   {', '.join(parts)}; sum {concise(loss.value, loss.u)} dB"]
    return [
        f"Source    <n> = {text(n)}, g2(0) = {text(g2)}, "
        f"{source.clock_rate.value / 1e6:.6g} MHz ({n.method})",
        f"Protocol  {first.protocol}, accounting {first.accounting}, "
        f"{'asymptotic' if first.key_length is None else block}, {link.receiver} receiver",
        *channel,
    ]


def _rates(
    points: Sequence[KeyRate], limited: Sequence[KeyRate], source: SourceFigures
) -> list[str]:
    # the paper's measurements stand beside its own source only
    papers = source.mean_photon_number.method.startswith(PAPER.split(" (")[0])
    measured = ("  measured  computed/", "  in paper  measured") if papers else ("", "")
    at_limit = [f"{p.rate_per_pulse:.3g}" for p in limited] or ["-"] * len(points)
    lines = [
        f"{'loss':>6} {'rate':>14} {'rate at':>10} {'rate':>10} {'p_z':>7} {'pre-':>6} "
        f"{'QBER':>6} {'phase':>6} {'block':>8}{measured[0]}",
        f"{'dB':>6} {'bit/pulse':>14} {'limit *':>10} {'kbit/s':>10} {'':>7} {'atten.':>6} "
        f"{'%':>6} {'err. %':>6} {'s':>8}{measured[1]}",
        *(_rate(p, rate, papers) for p, rate in zip(points, at_limit, strict=True)),
    ]
    if limited:
        eps = limited[0].eps_source
        foot = f"the source at limits that it exceeds with probability {eps:.2g}"
    else:
        foot = "no limit, because <n> or g2 has no uncertainty"
    return [*lines, f"* {foot}"]


def _rate(p: KeyRate, at_limit: str, papers: bool) -> str:
    measured = measured_at(p.loss_dB) if papers and p.decoy is None else None
    paper = ""
    if measured is not None:
        ratio = p.rate_per_pulse / measured.rate_per_pulse
        paper = f"  {measured.rate_per_pulse:8.4g}  {ratio:.2f}"
    seconds = "-" if p.acquisition_time_s is None else f"{p.acquisition_time_s:.4g}"
    return (
        f"{p.loss_dB:6.2f} {concise(p.rate_per_pulse, p.rate_per_pulse_u):>14} {at_limit:>10} "
        f"{concise(p.rate_bps / 1e3, p.rate_bps_u / 1e3):>10} "
        f"{p.p_z:7.4f} {p.attenuation:6.3f} {100 * p.qber:6.3f} "
        f"{100 * p.phase_error:6.2f} {seconds:>8}{paper}"
    )


def _like_with_like(points: Sequence[KeyRate], limited: Sequence[KeyRate]) -> list[str]:
    """Say what the lead over coherent light with the same protocol is."""
    name = points[0].comparator_name
    found = [p.like_with_like for p in points]
    lines = [f"Like with like: the lead over {name}, coherent light with the same protocol"]
    for i, (p, c) in enumerate(zip(points, found, strict=True)):
        if c is None:
            return []
        if c.advantage_dB is None or c.advantage_dB_u is None:
            lead = "none to give: one of the rates is 0"
        else:
            lead = f"{c.advantage_dB:+.2f} +- {c.advantage_dB_u:.2f} dB"
        if limited:
            at_limit = advantage_dB(limited[i].rate_per_pulse, c.rate_per_pulse)
            lead += f"; with the source at its limits {_decibels(at_limit)}"
        lines.append(f"{p.loss_dB:8.2f} dB  {lead}")
    return lines


def _lead(lead: Uncertain) -> str:
    return f"{lead.value:+.2f} +- {lead.u:.2f} dB"


def _decibels(value: float | None) -> str:
    return "no key" if value is None else f"{value:+.2f} dB"


def _coherent_light(
    points: Sequence[KeyRate], lead_ends: Mapping[str, Estimate | None]
) -> list[str]:
    names = [c.name for c in points[0].comparators]
    width = max((len(name) for name in names), default=0)
    losses = "".join(f"{p.loss_dB:>25.2f} dB" for p in points)
    last = f"{'ahead up to':>20}" if lead_ends else ""
    lines = [
        "Coherent light on the same link: bit/pulse (the source's advantage in dB)",
        f"{'':{width}}{losses}{last}",
    ]
    for name in names:
        cells = "".join(f"{_comparison(p.comparator(name)):>28}" for p in points)
        lines.append(f"{name:{width}}{cells}{_lead_end(name, lead_ends)}")
    return lines


def _comparison(c: Comparison) -> str:
    gain = "-"
    if c.advantage_dB is not None and c.advantage_dB_u is not None:
        gain = f"{c.advantage_dB:+.2f} +- {c.advantage_dB_u:.2f}"
    return f"{c.rate_per_pulse:.3g} ({gain})"


def _lead_end(name: str, lead_ends: Mapping[str, Estimate | None]) -> str:
    if name not in lead_ends:
        return ""
    loss = lead_ends[name]
    return f"{'never' if loss is None else loss_text(loss):>20}"


def _value(row: Reproduction, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:>10.4g}  {_deviation(row.deviation(value), row.unit):>9}"


def _deviation(deviation: float | None, unit: str) -> str:
    if deviation is None:
        return "-"
    return f"{deviation:+.2f} dB" if unit == "dB" else f"{100 * deviation:+.1f} %"
