"""``qdchar exchange``: make a key in the simulated lab."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdchar.errors import InconclusiveError, UsageError
from qdchar.files import to_disk, write_text, writing

from ._options import accounting_option, as_json
from ._outputs import make_output_folder, writing_output
from ._records import accept_option
from ._source import given_source_and_link, link_option, source_option

if TYPE_CHECKING:
    from qdchar.drivers.twin.exchange_lab import Eavesdropper
    from qdchar.exchange.session import Bits, ErrorRate, MadeKey
    from qdchar.lab.exchange import Exchange

_NO_KEY = 10
"""Exit code where the exchange ended as it should and left no key."""

_NOT_AUTHENTICATED = (
    "The public messages are not authenticated. Somebody who can change them can stand between the "
    "two sides: use an authenticated channel."
)


@click.command()
@click.argument("record", required=False, type=click.Path(path_type=Path))
@source_option
@link_option
@click.option("--loss", "loss_dB", type=float, metavar="dB", help="Loss instead of the link's.")
@click.option(
    "--protocol",
    type=click.Choice(["efficient-bb84", "three-state"]),
    default="efficient-bb84",
    show_default=True,
    help="Four states, or three.",
)
@accounting_option
@click.option(
    "--block",
    type=float,
    help="Detections of the exchange; default that of the link file, or 2 million.",
)
@click.option(
    "--eps-source",
    type=float,
    metavar="1e-10",
    help="Probability that the source exceeds its limit; default the link's secrecy parameter.",
)
@click.option(
    "--eavesdropper",
    metavar="intercept=SHARE|splitting",
    help="Measure a share of the pulses in a random basis and send them again; or keep a photon "
    "of each pulse with two.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of all random numbers.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder in which the folder of the exchange is made.",
)
@accept_option
@as_json
def exchange(
    record: Path | None,
    source: str | None,
    link_file: Path | None,
    loss_dB: float | None,
    protocol: Any,
    accounting: Any,
    block: float | None,
    eps_source: float | None,
    eavesdropper: str | None,
    seed: int,
    out: Path,
    accept: bool,
    json_line: bool,
) -> int:
    """Make a key in the simulated lab, and compare its length with the prediction.

    A transmitter sends random states of the source of RECORD (or --source; the paper's Table 1
    without either) through the link to four detectors. From their time tags and public messages
    both sides make the same key: alice.key and bob.key, eight bits a byte, the first highest. For
    simulation only: the random numbers follow from --seed.

    Exit code 0: a key; 10: the exchange leaves no key; 11: it failed.
    """
    from qdchar.keyrate import SourceFigures
    from qdchar.lab.exchange import exchange as run_exchange
    from qdchar.lab.exchange import link_of_exchange
    from qdchar.lab.run import folder_name

    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is an integer of 0 or more")
    attack = _eavesdropper(eavesdropper)
    given, link = given_source_and_link(record, source, link_file, accept)
    make_output_folder("--out", out)
    done = run_exchange(
        given or SourceFigures(),
        link_of_exchange(link, block, loss_dB),
        protocol=protocol,
        accounting=accounting or "alice",
        eps_source=eps_source,
        seed=seed,
        eavesdropper=attack,
    )
    line = exchange_json(done, eavesdropper, seed)
    click.echo(exchange_text(done, eavesdropper))
    files = _write(done, line, out / folder_name("exchange"))
    click.echo("\n" + "\n".join(str(file) for file in files))
    if json_line:
        click.echo(json.dumps({**line, "files": [str(file) for file in files]}))
    return exit_code(done.made)


def exit_code(made: MadeKey) -> int:
    """Exit code of an exchange; two different keys are a failure, however improbable."""
    if not made.identical:
        return InconclusiveError.exit_code
    return 0 if len(made.alice) else _NO_KEY


def _write(done: Exchange, line: dict[str, Any], folder: Path) -> list[Path]:
    """Write result, keys and picture to a new folder; return the files."""
    from qdchar.report.exchange import draw_exchange

    with writing(folder):
        folder.mkdir()
    files = [folder / "exchange.json"]
    write_text(files[0], json.dumps(line, indent=1) + "\n")
    if len(done.made.alice):
        for side, key in (("alice", done.made.alice), ("bob", done.made.bob)):
            files.append(folder / f"{side}.key")
            _write_key(files[-1], key)
    figure = draw_exchange(done)
    for suffix in ("png", "pdf"):
        files.append(folder / f"exchange.{suffix}")
        with writing_output("--out", files[-1]):
            figure.savefig(files[-1], dpi=200)
    return files


def _eavesdropper(text: str | None) -> Eavesdropper | None:
    from qdchar.drivers.twin.exchange_lab import InterceptResend, PhotonSplitting

    from ._many_numbers import is_number

    if text is None:
        return None
    if text == "splitting":
        return PhotonSplitting()
    name, _, share = text.partition("=")
    if name == "intercept" and is_number(share):
        return InterceptResend(float(share))
    raise UsageError(
        f"--eavesdropper {text}: give intercept=0.3 (a share of the pulses) or splitting"
    )


def _write_key(file: Path, key: Bits) -> None:
    """Write a key that nobody else can read."""
    import numpy as np

    with (
        writing(file),
        os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream,
    ):
        stream.write(np.packbits(key).tobytes())
        to_disk(stream)


def exchange_text(done: Exchange, eavesdropper: str | None) -> str:
    """Write an exchange for people."""
    plan, predicted, made, link = done.plan, done.predicted, done.made, done.plan.link
    found, final = made.detections, made.final
    low, high = predicted.interval
    identical = "identical on both sides" if made.identical else "DIFFERENT"
    lines = [
        f"Exchange  {plan.protocol}, accounting {plan.accounting}, {link.channel_loss.value:g} dB, "
        f"{plan.pulses:.4g} pulses ({plan.pulses / plan.source.clock_rate.value:.3g} s), "
        f"p_z {plan.p_z:.4f}, pre-attenuation {plan.attenuation:.3f}",
        f"Receiver  {found.tags} tags, {found.gated} in the gate, {found.multiple_clicks} gates "
        f"with several clicks; period {found.period_ps:.4f} ps found from the photons",
    ]
    if eavesdropper is not None:
        lines.append(f"Attack    {eavesdropper}")
    lines += [
        "",
        f"key predicted from the record  {predicted.key_length:>10.0f} bit  (95 %: {low:.0f} to "
        f"{high:.0f})",
        f"key from the counts            {made.from_counts.key_length:>10.0f} bit  (with f = "
        f"{link.error_correction_efficiency:g})",
        f"key made                       {len(made.alice):>10} bit  "
        f"({identical if len(made.alice) else 'there is no key'})",
        "",
        f"sifted        {made.key_errors.detections} bit",
        f"QBER Z        {_percent(made.key_errors)}",
        f"QBER X        {_percent(made.test_errors)}",
        f"phase error   {100 * final.phase_error:.2f} % at most",
        f"multi-photon  {final.p2_limit:.3g} per pulse before attenuation at most, exceeded with "
        f"probability {final.eps_source:.2g}",
        f"correction    {made.leaked_bits} bit disclosed, "
        + ("no errors" if made.efficiency is None else f"f = {made.efficiency:.3f}"),
        f"verification  equal hashes; the keys differ with probability "
        f"{final.epsilon_correctness:.2g}",
        f"secrecy       fails with probability {final.epsilon_secrecy:.2g}, all parts together",
        "throughput    "
        + ", ".join(f"{name} {step.Mbit_per_s:.3g}" for name, step in made.steps.items())
        + " Mbit/s of processor time, both sides on one core",
    ]
    if done.tapped_bits is not None:
        lines.append(
            f"eavesdropper  knows {done.tapped_bits} sifted bits; {done.unknown_bits} are neither "
            "known to her nor disclosed"
        )
    lines += [
        "",
        _NOT_AUTHENTICATED,
        "",
        "What the key's secrecy assumes",
        *(f"  {sentence}" for sentence in final.assumptions),
    ]
    return "\n".join(lines)


def _percent(found: ErrorRate) -> str:
    low, high = (100 * edge for edge in found.interval)
    return (
        f"{100 * found.rate:.3f} % (95 %: {low:.3f} to {high:.3f}; {found.errors} of "
        f"{found.detections})"
    )


def exchange_json(done: Exchange, eavesdropper: str | None, seed: int) -> dict[str, Any]:
    """Write an exchange for programs."""
    plan, predicted, made = done.plan, done.predicted, done.made
    return {
        "protocol": plan.protocol,
        "accounting": plan.accounting,
        "loss_dB": plan.link.channel_loss.value,
        "seed": seed,
        "eavesdropper": eavesdropper,
        "p_z": plan.p_z,
        "attenuation": plan.attenuation,
        "pulses_sent": plan.pulses,
        "predicted": {
            "key_length": predicted.key_length,
            "interval_95": predicted.interval,
            "interval_95_by_chance": predicted.by_chance,
        },
        "from_counts": {"key_length": made.from_counts.key_length},
        "made": {
            "key_length": len(made.alice),
            "identical": made.identical,
        },
        "counts": {
            name: int(getattr(made.counts, name))
            for name in (
                "sifted",
                "sifted_errors",
                "test",
                "test_errors",
                "crossed",
                "crossed_right",
            )
        },
        "qber": {
            name: {"value": found.rate, "interval_95": found.interval}
            for name, found in (("z", made.key_errors), ("x", made.test_errors))
        },
        "phase_error": made.final.phase_error,
        "p2_limit": made.final.p2_limit,
        "eps_source": made.final.eps_source,
        "epsilon_secrecy": made.final.epsilon_secrecy,
        "epsilon_correctness": made.final.epsilon_correctness,
        "leaked_bits": made.leaked_bits,
        "efficiency": made.efficiency,
        "Mbit_per_s": {name: step.Mbit_per_s for name, step in made.steps.items()},
        "messages": {
            subject: {
                "messages": sent.messages,
                "bytes": sent.bytes,
                "disclosed_bits": sent.disclosed_bits,
            }
            for subject, sent in done.traffic.items()
        },
        "tapped_bits": done.tapped_bits,
        "unknown_bits": done.unknown_bits,
        "authenticated": False,
        "assumptions": list(made.final.assumptions),
    }
