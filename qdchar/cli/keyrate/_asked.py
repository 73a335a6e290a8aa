"""What options ask for together: losses, the block, and which of them exclude one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from qdchar.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from qdchar.keyrate import SourceFigures
    from qdchar.link import Link

_SOURCE_AND_OUTPUT = {"record", "source", "link_file", "accept", "json_line"}
_BESIDE = {
    "published": ({"json_line"}, "prints fixed tables"),
    "counts_file": (
        _SOURCE_AND_OUTPUT | {"p2_limit", "eps_source"},
        "takes protocol, settings and block from its file",
    ),
    "pass_file": (
        _SOURCE_AND_OUTPUT | {"protocol", "accounting", "eps_source"},
        "takes the loss from its file, the block from its times and the best settings",
    ),
}


def refuse_beside(name: str) -> None:
    """Refuse options that the way of use `name` would ignore.

    Parameters
    ----------
    name
        Parameter that was given: published, counts_file or pass_file.
    """
    context = click.get_current_context()
    allowed: Set[str] = _BESIDE[name][0] | {name}
    flags = {p.name: p.opts[0] for p in context.command.params}
    ignored = [
        flag if flag.startswith("-") else flag.upper()
        for other, flag in flags.items()
        if other is not None
        and other not in allowed
        and context.get_parameter_source(other) is ParameterSource.COMMANDLINE
    ]
    if ignored:
        raise UsageError(
            f"{flags[name]} {_BESIDE[name][1]}; leave the other options out: {', '.join(ignored)}"
        )


def losses_asked(
    losses: tuple[float, ...], lengths: tuple[float, ...], db_per_km: float | None
) -> Sequence[float] | None:
    """Losses of --loss, or of --km; None for the link's own."""
    if not lengths:
        if db_per_km is not None:
            raise UsageError("--db-per-km is for --km: give the length of the fibre")
        return losses or None
    if losses:
        raise UsageError("--km and --loss: give one of them")
    if db_per_km is None or not db_per_km > 0:
        raise UsageError("--km needs --db-per-km, the loss of the fibre (more than 0 dB per km)")
    return [km * db_per_km for km in lengths]


def block_of_time(
    clock_rate_hz: float, block: float | None, block_kind: Any, seconds: float | None
) -> dict[str, Any]:
    """Block of --block and --block-kind, or of --time."""
    if seconds is None:
        return {"block": block, "block_kind": block_kind}
    if block is not None or block_kind is not None:
        raise UsageError("--time is a block of sent pulses: leave out --block and --block-kind")
    if not 0 < seconds < float("inf"):
        raise UsageError("--time: seconds, more than 0")
    if seconds * clock_rate_hz < 1:
        raise UsageError(f"--time: {seconds:g} s is less than one pulse at {clock_rate_hz:g} Hz")
    return {"block": seconds * clock_rate_hz, "block_kind": "sent"}


def block_of_bits(
    source: SourceFigures,
    link: Link,
    protocol: Any,
    bits: float,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Block of --bits."""
    from qdchar.keyrate.block_for_bits import block_for_bits

    losses = options["loss_dB"]
    if losses is not None and len(losses) > 1:
        raise UsageError("--bits is for one loss: each has a block of its own")
    held = {name: value for name, value in settings.items() if value is not None}
    if protocol.endswith("-decoy"):
        refuse_held(protocol, held)
        held = {"p3_max": options.get("p3_max", 0.0)}
    at = None if losses is None else losses[0]
    pulses = block_for_bits(source, link, bits, loss_dB=at, protocol=protocol, **held)
    return {"block": pulses, "block_kind": "received"}


def refuse_held(protocol: str, held: Mapping[str, Any]) -> None:
    """Refuse settings that a protocol with decoy states does not have."""
    if held:
        raise UsageError(
            f"--protocol {protocol}: --accounting, --p-z and --attenuation apply only to "
            "protocols without decoy states; leave them out"
        )
