"""`qdchar keyrate`: predict a key rate from a record or from given source figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdchar.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdchar.estimate import Estimate
    from qdchar.keyrate import KeyRate, SourceFigures
    from qdchar.link import Link


class _ManyLosses(click.Command):
    """A command whose ``--loss`` takes all the numbers that follow it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        for i, argument in enumerate(args):
            if argument == "--loss":
                following = args[i + 1 : i + 2]
                if not following or not _is_number(following[0]):
                    found = following[0] if following else "nothing"
                    raise click.BadParameter(
                        f"{found!r} follows; give one or more losses in dB", param_hint="--loss"
                    )
            elif _is_number(argument) and _after_loss(args[:i]):
                spread += ["--loss", argument]
            else:
                spread.append(argument)
        return super().parse_args(ctx, spread)


def _after_loss(before: list[str]) -> bool:
    """Whether only numbers stand between here and the last ``--loss``."""
    while before and _is_number(before[-1]):
        before = before[:-1]
    return bool(before) and before[-1] == "--loss"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@click.command("keyrate", cls=_ManyLosses)
@click.argument("record", required=False, type=click.Path(path_type=Path))
@click.option(
    "--source",
    metavar="n=0.292,g2=0.00698",
    help="Source figures instead of a record; also n_u, g2_u and clock (Hz).",
)
@click.option(
    "--link", "link_file", type=click.Path(path_type=Path), help="Link file; default the paper's."
)
@click.option(
    "--loss",
    "losses",
    type=float,
    multiple=True,
    metavar="dB ...",
    help="Channel losses; default the link's own.",
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
@click.option(
    "--accounting",
    type=click.Choice(["alice", "joint"]),
    help="How multi-photon pulses are counted, default alice; joint assumes that Bob's basis "
    "choice is independent of the signal.",
)
@click.option("--block", type=float, help="Pulses in a block; default the link's.")
@click.option("--block-kind", type=click.Choice(["received", "sent", "asymptotic"]))
@click.option("--p-z", type=float, help="Hold Alice's Z probability; default the optimum.")
@click.option("--attenuation", type=float, help="Hold the pre-attenuation; default the optimum.")
@click.option(
    "--counts",
    "counts_file",
    type=click.Path(path_type=Path),
    help="Key of a session's measured counts (TOML) instead of a prediction.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Print every published number beside the computed one instead, by variant.",
)
@click.option("--json", "as_json", is_flag=True, help="Result as one line of JSON at the end.")
def keyrate(
    record: Path | None,
    source: str | None,
    link_file: Path | None,
    losses: tuple[float, ...],
    protocol: Any,
    accounting: Any,
    block: float | None,
    block_kind: Any,
    p_z: float | None,
    attenuation: float | None,
    counts_file: Path | None,
    published: bool,
    as_json: bool,
) -> None:
    """Predict the key rate of a source and compare it with coherent light.

    The source is RECORD, a source record, or --source; without either, the paper's Table 1. A
    misalignment that the record holds stands for the link's.
    """
    from qdchar.keyrate import predict, predict_with_decoy
    from qdchar.keyrate.crossing import crossings, maximum_loss
    from qdchar.link import load_link
    from qdchar.record import load_record

    if published:
        _print_published(as_json)
        return
    figures = source_figures(record, source)
    link = load_link(link_file)
    if record is not None:
        link = link.measured_in(load_record(record))
    if counts_file is not None:
        _print_session(counts_file, figures, link, as_json)
        return
    if protocol.endswith("-decoy"):
        if not (accounting is None and p_z is None and attenuation is None):
            raise UsageError(
                f"--protocol {protocol}: --accounting, --p-z and --attenuation are for protocols "
                "without decoy states"
            )
        points = predict_with_decoy(
            figures,
            link,
            loss_dB=losses or None,
            protocol=protocol,
            block=block,
            block_kind=block_kind,
        )
    else:
        points = predict(
            figures,
            link,
            loss_dB=losses or None,
            protocol=protocol,
            accounting=accounting or "alice",
            block=block,
            block_kind=block_kind,
            p_z=p_z,
            attenuation=attenuation,
        )
    reach, ends = None, {}
    optimised = p_z is None and attenuation is None
    if optimised:
        block_of = {"block": points[0].block, "block_kind": points[0].block_kind}
        named = link.model_copy(update=block_of)
        proof: Any = {"protocol": protocol, "accounting": accounting or "alice"}
        reach = maximum_loss(figures, named, **proof)
        ends = crossings(figures, named, [c.name for c in points[0].comparators], **proof)
    click.echo(_table(points, figures, link, ends))
    if optimised:
        click.echo("no key at any loss" if reach is None else f"largest loss: {_in_dB(reach)}")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "protocol": protocol,
                    "accounting": points[0].accounting,
                    "block": points[0].block,
                    "block_kind": points[0].block_kind,
                    "maximum_loss_dB": None if reach is None else reach.value,
                    "maximum_loss_dB_u": None if reach is None else _uncertainty(reach),
                    "crossings": {
                        name: None
                        if end is None
                        else {"value": end.value, "u": _uncertainty(end), "unit": end.unit}
                        for name, end in ends.items()
                    },
                    "source": {
                        e.name: {"value": e.value, "u": e.u, "unit": e.unit}
                        for e in (figures.mean_photon_number, figures.g2_zero, figures.clock_rate)
                    },
                    "points": [point.as_json() for point in points],
                }
            )
        )


def source_figures(record: Path | None, text: str | None) -> SourceFigures:
    """Return the source of a record or of a ``--source`` text; without either, the paper's."""
    from qdchar.keyrate import SourceFigures

    if record is not None and text is not None:
        raise UsageError("keyrate: give a record or --source, not both")
    if record is not None:
        from qdchar.record import load_record

        loaded = load_record(record)
        return SourceFigures.from_estimates(
            loaded.estimate("mean_photon_number"),
            loaded.estimate("g2_zero"),
            loaded.estimate("clock_rate"),
        )
    if text is None:
        return SourceFigures()
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name.strip() not in ("n", "g2", "n_u", "g2_u", "clock") or not equals:
            raise UsageError(
                f"--source: {part!r} is not understood; give n=..., g2=... and perhaps n_u=..., "
                "g2_u=..., clock=... (Hz), separated by commas"
            )
        if not _is_number(value):
            raise UsageError(f"--source: {value!r} is not a number for {name}")
        given[name.strip()] = float(value)
    if not {"n", "g2"} <= given.keys():
        raise UsageError("--source: needs both n=... and g2=...")
    return SourceFigures.from_values(
        given["n"],
        given["g2"],
        n_u=given.get("n_u", 0.0),
        g2_u=given.get("g2_u", 0.0),
        clock_rate_hz=given.get("clock", SourceFigures().clock_rate.value),
    )


def _in_dB(loss: Estimate) -> str:
    u = _uncertainty(loss)
    return f"{loss.value:g} dB or more" if u is None else f"{loss.value:.2f} +- {u:.2g} dB"


def _uncertainty(loss: Estimate) -> float | None:
    """None for a loss that is a lower limit."""
    from qdchar.keyrate.crossing import beyond_search

    return None if beyond_search(loss) else loss.u


def _table(
    points: tuple[KeyRate, ...],
    source: SourceFigures,
    link: Link,
    ends: Mapping[str, Estimate | None],
) -> str:
    from qdchar.keyrate import ASSUMPTION
    from qdchar.keyrate.comparators import COMPARATORS
    from qdchar.keyrate.published.values import measured_at

    first = points[0]
    n, g2 = source.mean_photon_number, source.g2_zero
    block = (
        "asymptotic"
        if first.key_length is None
        else (f"block of {first.block:g} {first.block_kind} pulses")
    )
    lines = [
        f"Source    <n> = {n.value:.4g} +- {n.u:.2g}, g2(0) = {g2.value:.4g} +- {g2.u:.2g}, "
        f"{source.clock_rate.value / 1e6:.6g} MHz ({n.method})",
        f"Protocol  {first.protocol}, accounting {first.accounting}, {block}, "
        f"{link.receiver} receiver",
        "",
        f"{'loss':>6} {'rate':>10} {'+- u':>8} {'rate':>10} {'p_z':>7} {'pre-':>6} "
        f"{'QBER':>6} {'phase':>6} {'block':>8}  measured  computed/",
        f"{'dB':>6} {'bit/pulse':>10} {'':>8} {'bit/s':>10} {'':>7} {'atten.':>6} "
        f"{'%':>6} {'err. %':>6} {'s':>8}  in paper  measured",
    ]
    for p in points:
        measured = measured_at(p.loss_dB) if p.decoy is None else None
        beside = ""
        if measured is not None:
            ratio = p.rate_per_pulse / measured.rate_per_pulse
            beside = f"  {measured.rate_per_pulse:8.4g}  {ratio:.2f}"
        seconds = "-" if p.acquisition_time_s is None else f"{p.acquisition_time_s:.4g}"
        lines.append(
            f"{p.loss_dB:6.2f} {p.rate_per_pulse:10.4g} {p.rate_per_pulse_u:8.2g} "
            f"{p.rate_bps:10.4g} {p.p_z:7.4f} {p.attenuation:6.3f} {100 * p.qber:6.3f} "
            f"{100 * p.phase_error:6.2f} {seconds:>8}{beside}"
        )
    lines += ["", "Coherent light on the same link: bit/pulse (the source's advantage, dB +- u)"]
    names = [c.name for c in first.comparators]
    width = max((len(name) for name in names), default=0)
    heads = "".join(f"{p.loss_dB:>25.2f} dB" for p in points)
    if ends:
        heads += f"{'ahead up to':>20}"
    lines.append(f"{'':{width}}{heads}")
    for name in names:
        cells = ""
        for p in points:
            c = p.comparator(name)
            gain = "-"
            if c.advantage_dB is not None:
                gain = f"{c.advantage_dB:+.2f} +- {c.advantage_dB_u:.2f}"
            cells += f"{f'{c.rate_per_pulse:.3g} ({gain})':>28}"
        if name in ends:
            end = ends[name]
            cells += f"{'never' if end is None else _in_dB(end):>20}"
        lines.append(f"{name:{width}}{cells}")
    lines.append("")
    lines += [f"{name}: {COMPARATORS[name].description}" for name in names]
    lines.append(f"accounting {first.accounting}: {ASSUMPTION[first.accounting]}")
    return "\n".join(lines)


def _print_session(file: Path, source: SourceFigures, link: Link, as_json: bool) -> None:
    from dataclasses import asdict

    from qdchar.keyrate.measured.file import load_session, session_key

    key = session_key(load_session(file), source, link)
    click.echo(
        f"{key.protocol}\n"
        f"secret key    {key.key_length:.0f} bit ({key.rate_per_pulse:.4g} per sent pulse)\n"
        f"QBER          {100 * key.qber:.3f} %\n"
        f"phase error   {100 * key.phase_error:.2f} % at most\n"
        f"secure        {key.secure_detections:.0f} of the sifted detections at least"
    )
    if as_json:
        click.echo(json.dumps(asdict(key)))


def _print_published(as_json: bool) -> None:
    from qdchar.keyrate.published.reproduction import reproduce

    rows = reproduce()
    for row in rows:
        click.echo(f"\n{row.quantity}: {row.published:.4g} {row.unit} ({row.source})")
        for name, value in row.computed:
            click.echo(f"    {name:<64}{_beside(value, row.deviation(value), row.unit)}")
    click.echo("\nNo variant within 5 % (0.25 dB):")
    for row in rows:
        if not row.reproduced:
            name, deviation = row.closest
            click.echo(f"    {row.quantity}: closest {_deviation(deviation, row.unit)}, {name}")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "published": [
                        {
                            "quantity": row.quantity,
                            "unit": row.unit,
                            "published": row.published,
                            "source": row.source,
                            "reproduced": row.reproduced,
                            "computed": dict(row.computed),
                        }
                        for row in rows
                    ]
                }
            )
        )


def _beside(value: float | None, deviation: float | None, unit: str) -> str:
    return "none" if value is None else f"{value:>10.4g}  {_deviation(deviation, unit):>9}"


def _deviation(deviation: float | None, unit: str) -> str:
    if deviation is None:
        return "-"
    return f"{deviation:+.2f} dB" if unit == "dB" else f"{100 * deviation:+.1f} %"
