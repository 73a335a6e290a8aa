"""``qdchar keyrate``: predict a key rate, or compute the key of measured counts."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdchar.errors import UsageError

from .._many_numbers import ManyLosses
from .._options import accounting_option, as_json
from .._records import accept_option
from .._source import given_source_and_link, link_option, source_option
from ._asked import block_of_bits, block_of_time, losses_asked, refuse_beside, refuse_held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdchar.estimate import Estimate
    from qdchar.keyrate import KeyRate, SourceFigures
    from qdchar.link import Link


@click.command("keyrate", cls=ManyLosses)
@click.argument("record", required=False, type=click.Path(path_type=Path))
@source_option
@link_option
@click.option(
    "--loss",
    "losses",
    type=float,
    multiple=True,
    metavar="dB ...",
    help="Channel losses; default the link's own.",
)
@click.option(
    "--km",
    "lengths",
    type=float,
    multiple=True,
    metavar="KM ...",
    help="Lengths of fibre instead of losses; see --db-per-km.",
)
@click.option(
    "--db-per-km",
    type=float,
    help="Loss of the fibre, for --km; 0.2 is usual at 1550 nm, 0.17 for the best fibre.",
)
@click.option(
    "--pass",
    "pass_file",
    type=click.Path(path_type=Path),
    help="One key of a link that changes: CSV with time_s, loss_dB and perhaps background_Hz.",
)
@click.option(
    "--protocol",
    type=click.Choice(
        ["efficient-bb84", "three-state", "efficient-bb84-decoy", "three-state-decoy"]
    ),
    default="efficient-bb84",
    show_default=True,
    help="With -decoy: single photons behind a switched attenuator.",
)
@accounting_option
@click.option(
    "--p3-max",
    type=float,
    help="Protocols with decoy: largest probability of three photons in a pulse, default 0; the "
    "rate at the largest that g2 allows stands beside.",
)
@click.option("--block", type=float, help="Pulses in a block; default the link's.")
@click.option(
    "--time",
    "seconds",
    type=float,
    metavar="S",
    help="Seconds in which a block is sent, instead of --block and --block-kind.",
)
@click.option(
    "--bits",
    type=float,
    metavar="N",
    help="Secret bits that are wanted: the block is the smallest whose key has so many. One loss.",
)
@click.option("--block-kind", type=click.Choice(["received", "sent", "asymptotic"]))
@click.option("--p-z", type=float, help="Hold Alice's Z probability; default the optimum.")
@click.option("--attenuation", type=float, help="Hold the pre-attenuation; default the optimum.")
@click.option(
    "--counts",
    "counts_file",
    type=click.Path(path_type=Path),
    help="Key of a session's measured counts (TOML) instead of a prediction; needs p2_limit, or "
    "the source with its uncertainties.",
)
@click.option(
    "--eps-source",
    type=float,
    metavar="1e-10",
    help="Probability that the source exceeds the limits that stand beside its best estimates; "
    "default the link's secrecy parameter, to which it adds.",
)
@click.option(
    "--p2-limit",
    type=float,
    help="With --counts: upper limit of the multi-photon probability, unattenuated, that "
    "--eps-source belongs to.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Print every published number beside the computed one instead, by variant.",
)
@click.option(
    "--reach",
    is_flag=True,
    help="Also find the largest loss with a key, and the losses at which the lead over coherent "
    "light ends; takes some seconds.",
)
@accept_option
@as_json
def keyrate(
    record: Path | None,
    source: str | None,
    link_file: Path | None,
    losses: tuple[float, ...],
    lengths: tuple[float, ...],
    db_per_km: float | None,
    pass_file: Path | None,
    protocol: Any,
    accounting: Any,
    p3_max: float | None,
    block: float | None,
    seconds: float | None,
    bits: float | None,
    block_kind: Any,
    p_z: float | None,
    attenuation: float | None,
    counts_file: Path | None,
    eps_source: float | None,
    p2_limit: float | None,
    published: bool,
    reach: bool,
    accept: bool,
    json_line: bool,
) -> None:
    """Predict the key rate of a source and compare it with coherent light.

    The source is RECORD, a source record, or --source; without either, the paper's Table 1. A
    misalignment that the record holds takes the place of the link's.
    """
    if published:
        refuse_beside("published")
        _show_published(json_line)
        return
    given, link = given_source_and_link(record, source, link_file, accept)
    if counts_file is not None:
        refuse_beside("counts_file")
        limits = {"p2_limit": p2_limit, "eps_source": eps_source}
        _show_session(counts_file, given, link, limits, json_line)
        return
    if p2_limit is not None:
        raise UsageError("--p2-limit is for --counts; a prediction takes it from the source")
    from qdchar.keyrate import SourceFigures

    source_ = given or SourceFigures()
    if pass_file is not None:
        refuse_beside("pass_file")
        if protocol.endswith("-decoy"):
            raise UsageError("--pass is for protocols without decoy states")
        proof = {"protocol": protocol, "accounting": accounting or "alice"}
        _show_pass(pass_file, source_, link, proof, eps_source, json_line)
        return
    options = {
        "loss_dB": losses_asked(losses, lengths, db_per_km),
        **block_of_time(source_.clock_rate.value, block, block_kind, seconds),
    }
    settings = {"accounting": accounting, "p_z": p_z, "attenuation": attenuation}
    if p3_max is not None:
        if not protocol.endswith("-decoy"):
            raise UsageError("--p3-max is for protocols with decoy states")
        options["p3_max"] = p3_max
    if bits is not None:
        if not (block is block_kind is seconds is None):
            raise UsageError("--bits gives the block: leave out --block, --block-kind and --time")
        options |= block_of_bits(source_, link, protocol, bits, options, settings)
    if reach and (p_z is not None or attenuation is not None):
        raise UsageError("--reach optimises the settings; leave out --p-z and --attenuation")
    _show_prediction(source_, link, protocol, options, settings, eps_source, reach, json_line)


def _show_prediction(
    source: SourceFigures,
    link: Link,
    protocol: Any,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    eps_source: float | None,
    reach_asked: bool,
    json_line: bool,
) -> None:
    from dataclasses import asdict

    from qdchar.keyrate.no_key import why_no_key

    from ._text import loss_text, no_key_text, prediction_text

    points = _predict(source, link, protocol, options, settings)
    limited = _at_limits(source, link, protocol, options, settings, eps_source)
    reach, lead_ends = None, {}
    if reach_asked:
        from qdchar.keyrate.crossing import crossings, maximum_loss

        block_of_points = {"block": points[0].block, "block_kind": points[0].block_kind}
        on_link = link.model_copy(update=block_of_points)
        names = [c.name for c in points[0].comparators]
        proof: Any = {"protocol": protocol, "accounting": settings["accounting"] or "alice"}
        reach = maximum_loss(source, on_link, **proof)
        lead_ends = crossings(source, on_link, names, **proof)
    zeros = {p.loss_dB: why_no_key(p, source, link) for p in points if p.rate_per_pulse == 0}
    many = _at_largest_p3(source, link, protocol, options)
    click.echo(prediction_text(points, limited, source, link, lead_ends))
    for p, worst in zip(points, many, strict=False):
        click.echo(
            f"Three photons in a pulse as likely as g2 allows: {worst.rate_per_pulse:.4g} instead "
            f"of {p.rate_per_pulse:.4g} bit/pulse at {p.loss_dB:g} dB (--p3-max)"
        )
    if zeros:
        click.echo(no_key_text(zeros))
    if reach_asked:
        click.echo(f"largest loss: {loss_text(reach)}" if reach else "no key at any loss")
    if json_line:
        line = _prediction_json(points, limited, source)
        for point in line["points"]:
            zero = zeros.get(point["loss_dB"])
            point["rate_at_largest_p3"] = None
            point["no_key"] = None if zero is None else asdict(zero)
        for point, worst in zip(line["points"], many, strict=False):
            point["rate_at_largest_p3"] = worst.rate_per_pulse
        if reach_asked:
            line.update(_reach_json(reach, lead_ends))
        click.echo(json.dumps(line))


def _show_pass(
    file: Path,
    source: SourceFigures,
    link: Link,
    proof: Mapping[str, Any],
    eps_source: float | None,
    json_line: bool,
) -> None:
    from dataclasses import asdict

    from qdchar.keyrate.over_time import (
        coherent_over_time,
        lead_over_time,
        predict_over_time,
        read_pass,
    )

    from ._text import pass_text

    table = read_pass(file)
    keys = [predict_over_time(source, link, *table, **proof)]
    if eps_source is not None or 0.0 not in (source.mean_photon_number.u, source.g2_zero.u):
        eps = link.epsilon_secrecy if eps_source is None else eps_source
        keys.append(predict_over_time(source, link, *table, **proof, eps_source=eps))
    light = coherent_over_time(source, link, *table, protocol=proof["protocol"])
    leads = [lead_over_time(key, light) for key in keys]
    click.echo(pass_text(keys, light, leads))
    if json_line:
        lines = [
            {
                **asdict(key),
                "key_length_u": key.key_length_u,
                "advantage_dB": None if lead is None else lead.value,
                "advantage_dB_u": None if lead is None else lead.u,
            }
            for key, lead in zip(keys, leads, strict=True)
        ]
        at_limit = lines[1] if len(lines) > 1 else None
        click.echo(
            json.dumps({**lines[0], "at_source_limit": at_limit, "comparator": asdict(light)})
        )


def _predict(
    source: SourceFigures,
    link: Link,
    protocol: Any,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> tuple[KeyRate, ...]:
    from qdchar.keyrate import predict, predict_with_decoy

    held = {name: value for name, value in settings.items() if value is not None}
    if not protocol.endswith("-decoy"):
        return predict(source, link, protocol=protocol, **options, **held)
    refuse_held(protocol, held)
    return predict_with_decoy(source, link, protocol=protocol, **options)


def _at_limits(
    source: SourceFigures,
    link: Link,
    protocol: Any,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    eps_source: float | None,
) -> tuple[KeyRate, ...]:
    """Predict with the source at its limits; empty where nobody asked and there are none."""
    asymptotic = "asymptotic" in (options["block_kind"] or link.block_kind)
    no_limit = 0.0 in (source.mean_photon_number.u, source.g2_zero.u)
    if eps_source is None and (no_limit or (asymptotic and protocol.endswith("-decoy"))):
        return ()
    eps = link.epsilon_secrecy if eps_source is None else eps_source
    limits = {**options, "eps_source": eps, "comparators": ()}
    return _predict(source, link, protocol, limits, settings)


def _at_largest_p3(
    source: SourceFigures, link: Link, protocol: Any, options: Mapping[str, Any]
) -> tuple[KeyRate, ...]:
    """Predict with the largest three-photon probability; empty without decoy states."""
    if not protocol.endswith("-decoy"):
        return ()
    from qdchar.keyrate.photon_statistics import largest_three_photon

    largest = float(largest_three_photon(source.mean_photon_number.value, source.g2_zero.value))
    return _predict(source, link, protocol, {**options, "p3_max": largest, "comparators": ()}, {})


def _prediction_json(
    points: Sequence[KeyRate],
    limited: Sequence[KeyRate],
    source: SourceFigures,
) -> dict[str, Any]:
    first = points[0]
    return {
        "protocol": first.protocol,
        "accounting": first.accounting,
        "block": first.block,
        "block_kind": first.block_kind,
        "comparator": first.comparator_name,
        "source": {
            e.name: {"value": e.value, "u": e.u, "unit": e.unit}
            for e in (source.mean_photon_number, source.g2_zero, source.clock_rate)
        },
        "points": [
            {**point.as_json(), "at_source_limit": None if at_limit is None else _short(at_limit)}
            for point, at_limit in zip_longest(points, limited)
        ],
    }


def _reach_json(reach: Estimate | None, lead_ends: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {
        "maximum_loss_dB": None if reach is None else reach.value,
        "maximum_loss_dB_u": None if reach is None else _uncertainty(reach),
        "crossings": {
            name: None
            if loss is None
            else {"value": loss.value, "u": _uncertainty(loss), "unit": loss.unit}
            for name, loss in lead_ends.items()
        },
    }


def _short(at_limit: KeyRate) -> dict[str, Any]:
    """Rate with the source at its limits, beside that at its best estimates."""
    names = ("eps_source", "rate_per_pulse", "rate_bps", "key_length", "p_z", "attenuation")
    whole = at_limit.as_json()
    return {name: whole[name] for name in names}


def _uncertainty(loss: Estimate) -> float | None:
    """None for a loss that is a lower limit."""
    from qdchar.keyrate.crossing import beyond_search

    return None if beyond_search(loss) else loss.u


def _show_session(
    file: Path,
    source: SourceFigures | None,
    link: Link,
    limits: Mapping[str, float | None],
    json_line: bool,
) -> None:
    from dataclasses import asdict

    from qdchar.keyrate.measured.file import load_session, session_key

    from ._text import session_text

    session = load_session(file)
    try:
        key = session_key(session, source, link, **limits)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    click.echo(session_text(key))
    if json_line:
        click.echo(json.dumps(asdict(key)))


def _show_published(json_line: bool) -> None:
    from dataclasses import asdict

    from qdchar.keyrate.published import account as one
    from qdchar.keyrate.published.reproduction import reproduce

    from ._text import account_text, published_text

    rows, account, pulls = reproduce(), one.account(), one.pulls()
    nu, demanded = one.nu_of_the_paper(), one.nu_for_crossing()
    click.echo(published_text(rows))
    click.echo(account_text(account, nu, demanded, pulls))
    if json_line:
        both = {"published": rows, "account": account}
        tables = {
            name: [
                {
                    "quantity": row.quantity,
                    "unit": row.unit,
                    "published": row.published,
                    "source": row.source,
                    "reproduced": row.reproduced,
                    "computed": dict(row.computed),
                }
                for row in table
            ]
            for name, table in both.items()
        }
        relation = {
            "nu_by_advantages": nu.advantages,
            "nu_by_threshold_detectors": nu.threshold,
            "nu_for_19_dB": demanded,
            "crossing_dB_from_boundary": [
                one.crossing_from_boundary(x) for x in (nu.advantages, nu.threshold)
            ],
        }
        pulled = [asdict(p) for p in pulls]
        click.echo(json.dumps({**tables, "relation": relation, "pulls": pulled}))
