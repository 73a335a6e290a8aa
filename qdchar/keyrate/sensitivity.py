"""What the improvement of each parameter buys in key rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdchar.link import Constant, Link

from .predict import predict
from .result import Protocol
from .single_photon.finite_key import Accounting
from .source import SourceFigures


@dataclass(frozen=True)
class Sensitivity:
    """What one parameter does to the rate.

    Attributes
    ----------
    name
        By the record's vocabulary.
    value
        Where it stands.
    per_percent
        Change of the rate when the value rises by 1 % of itself [bits per pulse].
    """

    name: str
    value: float
    per_percent: float


def sensitivities(
    source: SourceFigures,
    link: Link,
    *,
    loss_dB: float | None = None,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
) -> tuple[Sensitivity, ...]:
    """Find what each parameter buys: change of the optimised rate per percent, the largest first.

    Parameters
    ----------
    source, link
        Where the parameters stand.
    loss_dB
        Channel loss; default the link's own.
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    """
    loss = link.channel_loss.value if loss_dB is None else loss_dB
    step = 1e-3
    found = []

    def rate(source: SourceFigures, link: Link, loss: float) -> float:
        (point,) = predict(
            source,
            link,
            loss_dB=loss,
            protocol=protocol,
            accounting=accounting,
            comparators=(),
        )
        return point.rate_per_pulse

    def scaled(name: str, factor: float) -> tuple[SourceFigures, Link, float]:
        if name in ("mean_photon_number", "g2_zero"):
            estimate = getattr(source, name)
            changed = replace(estimate, value=estimate.value * factor)
            return replace(source, **{name: changed}), link, loss
        if name == "channel_loss":
            return source, link, loss * factor
        given = getattr(link, name)
        value = given.value if isinstance(given, Constant) else given
        new = Constant(value=value * factor) if isinstance(given, Constant) else value * factor
        return source, link.model_copy(update={name: new}), loss

    values = {
        "mean_photon_number": source.mean_photon_number.value,
        "g2_zero": source.g2_zero.value,
        "channel_loss": loss,
        **{
            name: getattr(link, name).value
            for name in (
                "fiber_optics_efficiency",
                "detector_efficiency",
                "dark_count_rate",
                "misalignment",
            )
        },
        "error_correction_efficiency": link.error_correction_efficiency,
        "block": link.block,
    }
    for name, value in values.items():
        low, high = (rate(*scaled(name, factor)) for factor in (1 - step, 1 + step))
        found.append(Sensitivity(name, value, (high - low) / (2 * step) * 0.01))
    return tuple(sorted(found, key=lambda s: -abs(s.per_percent)))
