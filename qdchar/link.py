"""The link: channel, receiver and security constants, everything about a key rate but the source.

A link file is TOML with the names of `qdchar.quantities`. A physical constant is a number or
a table with its standard uncertainty::

    channel_loss = 14.6                                # [dB], without the receiver
    detector_efficiency = { value = 0.712, u = 0.010 }
    receiver = "passive"

What a file leaves out keeps the value of `Link()`, the link of Zhang et al., PRL 134, 210801.
`Link()` is a design point: its loss of 14.6 dB is taken as exact. A lab that has measured its
channel says how well, ``channel_loss = { value = 14.6, u = 1.1 }``; the rate and the advantage at
the link's own loss then carry it, while a loss that is asked for stays exact.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    RootModel,
    ValidationError,
    model_validator,
)

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.files import PathLike, read_toml_or_json, shown

if TYPE_CHECKING:
    from qdchar.record import SourceRecord

_METHOD = "given (link file)"
_MEASURED_WITH_THE_SOURCE = ("misalignment",)
"""Constants that are as much the transmitter's as the link's."""


class Constant(BaseModel):
    """A given constant and its standard uncertainty, in the unit of its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    value: float
    u: float = 0.0


def _exact_if_plain(given: Any) -> Any:
    """Take a plain number as a constant without uncertainty."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"value": given}
    return given


_Given = Annotated[Constant, BeforeValidator(_exact_if_plain)]


class _Part(RootModel[_Given]):
    """A loss in the budget: a number or a table."""

    @property
    def loss(self) -> Constant:
        return self.root


def _as_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


_Shares = Annotated[tuple[float, float, float, float], BeforeValidator(_as_tuple)]


def _exactly(value: float) -> Constant:
    return Constant(value=value)


# What each number may be: (text for the person, test), in one place so that they cannot disagree.
_ALLOWED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "channel_loss": ("a loss of 0 dB or more", lambda x: x >= 0),
    "fiber_optics_efficiency": ("more than 0, at most 1", lambda x: 0 < x <= 1),
    "detector_efficiency": ("more than 0, at most 1", lambda x: 0 < x <= 1),
    "dark_count_rate": ("0 Hz or more (the sum over all detectors)", lambda x: x >= 0),
    "background_count_rate": ("0 Hz or more (the sum over all detectors)", lambda x: x >= 0),
    "dead_time": ("0 s or more, less than 1 s", lambda x: 0 <= x < 1),
    "gate_width": ("more than 0 s", lambda x: x > 0),
    "misalignment": ("at least 0, less than 0.5", lambda x: 0 <= x < 0.5),
    "error_correction_efficiency": ("1 or more", lambda x: x >= 1),
    "receiver_z_probability": ("more than 0, less than 1", lambda x: 0 < x < 1),
    "epsilon_parameter_estimation": ("more than 0, less than 1", lambda x: 0 < x < 1),
    "epsilon_privacy_amplification": ("more than 0, less than 1", lambda x: 0 < x < 1),
    "epsilon_error_correction": ("more than 0, less than 1", lambda x: 0 < x < 1),
    "epsilon_correctness": ("more than 0, less than 1", lambda x: 0 < x < 1),
    "block": (
        'at least 1 pulse, at most 1e30; beyond, take block_kind = "asymptotic"',
        lambda x: 1 <= x <= 1e30,
    ),
}

_CONSTANTS = (
    "channel_loss",
    "fiber_optics_efficiency",
    "detector_efficiency",
    "dark_count_rate",
    "background_count_rate",
    "dead_time",
    "gate_width",
    "misalignment",
)
_PASSIVE_ONLY = ("receiver_z_probability", "detector_dark_shares")


class Link(BaseModel):
    """Channel, receiver and security constants.

    Attributes
    ----------
    channel_loss
        Transmitter's output to receiver's input [dB]; the receiver is not in it.
    channel_parts
        Losses that add up to the channel's [dB], by name, instead of `channel_loss`. Each is an
        error source of its own.
    fiber_optics_efficiency, detector_efficiency
        The receiver's two factors [1].
    dark_count_rate
        Of all detectors together [Hz]: clicks without any light.
    detector_dark_shares
        Shares of the detectors (Z, Z, X, X) in the dark counts; their sum is 1. Refused for an
        active receiver, whose two detectors serve both bases.
    background_count_rate
        Clicks from background light in all detectors together [Hz]. It takes the way of the
        signal through the beam splitter; dark counts do not.
    dead_time
        Of each detector after a click [s]; 0 where it is not given.
    gate_width
        Acceptance window per pulse [s].
    misalignment
        Error probability of a detected photon [1].
    error_correction_efficiency
        Bits spent on error correction over the Shannon limit.
    receiver
        "passive": a beam splitter chooses the basis, with `receiver_z_probability`; "active": Bob
        chooses as often as Alice, and a `receiver_z_probability` is refused.
    receiver_z_probability
        Ratio of the passive receiver's beam splitter: share of the light that it sends to basis Z.
    epsilon_parameter_estimation, epsilon_privacy_amplification, epsilon_error_correction
        Failure probabilities; their sum is the secrecy parameter.
    epsilon_correctness
        Probability that the two keys differ unnoticed.
    security
        "published": every tail bound has the whole `epsilon_parameter_estimation`, and the
        sampling bound is the printed one, as in the paper; "rigorous": all the bounds of one
        proof share it, and the sampling bound holds for the whole tail, which costs about 0.7 %
        of the rate at 14.6 dB. Not given: published in predictions, rigorous where the key of
        measured counts is computed.
    block, block_kind
        Number of pulses in a block, "received" (all detections, before sifting) or "sent";
        "asymptotic" ignores the number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    channel_loss: _Given = _exactly(14.6)
    channel_parts: dict[str, _Given] = {}
    fiber_optics_efficiency: _Given = _exactly(0.6)
    detector_efficiency: _Given = _exactly(0.712)
    dark_count_rate: _Given = _exactly(43.0)
    detector_dark_shares: _Shares = (0.25, 0.25, 0.25, 0.25)
    background_count_rate: _Given = _exactly(0.0)
    dead_time: _Given = _exactly(0.0)
    gate_width: _Given = _exactly(3.42e-9)
    misalignment: _Given = _exactly(0.0254)
    error_correction_efficiency: float = 1.16
    receiver: Literal["passive", "active"] = "passive"
    receiver_z_probability: float = 0.9
    epsilon_parameter_estimation: float = 11 / 12 * 1e-10
    epsilon_privacy_amplification: float = 1 / 24 * 1e-10
    epsilon_error_correction: float = 1 / 24 * 1e-10
    epsilon_correctness: float = 1e-15
    security: Literal["published", "rigorous"] | None = None
    block: float = 1e8
    block_kind: Literal["received", "sent", "asymptotic"] = "received"
    _measured: dict[str, Estimate] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _sum_of_the_parts(cls, given: Any) -> Any:
        """Take the channel's loss as the sum of its parts, with their uncertainties."""
        if not isinstance(given, dict) or not given.get("channel_parts"):
            return given
        parts = {n: _Part.model_validate(p).loss for n, p in given["channel_parts"].items()}
        total = {
            "value": sum(p.value for p in parts.values()),
            "u": math.sqrt(sum(p.u**2 for p in parts.values())),
        }
        if "channel_loss" in given:
            same = _Part.model_validate(given["channel_loss"]).loss
            if abs(same.value - total["value"]) > 1e-9:
                raise ValueError(
                    f"channel_loss = {same.value:g} and the parts' sum {total['value']:g} differ; "
                    "give one of the two"
                )
        return {**given, "channel_loss": total}

    @model_validator(mode="after")
    def _within_what_is_allowed(self) -> Link:
        for part, loss in self.channel_parts.items():
            if loss.u < 0 or not math.isfinite(loss.value):
                raise ValueError(f"channel_parts.{part}: a loss in dB, its u 0 or more")
        for name, (allowed, holds) in _ALLOWED.items():
            given = getattr(self, name)
            value = given.value if isinstance(given, Constant) else given
            if not holds(value):
                raise ValueError(f"{name} = {value:g}: allowed is {allowed}")
            if isinstance(given, Constant) and given.u < 0:
                raise ValueError(f"{name}: u = {given.u:g}: an uncertainty is 0 or more")
        for name, per_gate in (
            ("dark_count_rate", self.dark_count_probability),
            ("background_count_rate", self.background_count_probability),
        ):
            if per_gate > 1:
                raise ValueError(
                    f"{name} x gate_width = {per_gate:g}: allowed is at most 1 count per pulse; "
                    "is gate_width in seconds?"
                )
        if min(self.detector_dark_shares) < 0 or abs(sum(self.detector_dark_shares) - 1) > 1e-9:
            raise ValueError(
                f"detector_dark_shares = {list(self.detector_dark_shares)}: allowed are four "
                "shares of 0 or more for the detectors Z, Z, X, X, with a sum of 1"
            )
        if self.receiver == "active":
            for name in _PASSIVE_ONLY:
                # a run's own file holds all keys: a passive receiver's default may stand
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f'{name} is of a passive receiver, and receiver = "active" does not use '
                        'it: leave it out, or set receiver = "passive"'
                    )
        return self

    @property
    def receiver_efficiency(self) -> float:
        """Transmission of the optics times detector efficiency."""
        return self.fiber_optics_efficiency.value * self.detector_efficiency.value

    @property
    def dark_count_probability(self) -> float:
        """Dark counts per pulse, over all detectors."""
        return self.dark_count_rate.value * self.gate_width.value

    @property
    def background_count_probability(self) -> float:
        """Clicks per pulse from background light, over all detectors."""
        return self.background_count_rate.value * self.gate_width.value

    @property
    def dark_count_share_z(self) -> float:
        """Share of the dark counts in the detectors of basis Z."""
        return self.detector_dark_shares[0] + self.detector_dark_shares[1]

    @property
    def epsilon_secrecy(self) -> float:
        """Probability that the key is not secret: the sum of its three parts."""
        return (
            self.epsilon_parameter_estimation
            + self.epsilon_privacy_amplification
            + self.epsilon_error_correction
        )

    def estimates(self) -> dict[str, Estimate]:
        """Return the physical constants as Estimates, by name.

        Each constant's uncertainty is an error source of its own, named ``link: <name>``.
        """
        given = {name: self._estimate(name) for name in _CONSTANTS} | self._measured
        dark, gate = given["dark_count_rate"], given["gate_width"]
        given["dark_count_probability"] = Estimate(
            name="dark_count_probability",
            value=self.dark_count_probability,
            method="dark_count_rate x gate_width",
            plane="receiver",
            budget=propagate([(dark, gate.value), (gate, dark.value)]),
        )
        return given

    def measured_in(self, record: SourceRecord) -> Link:
        """Return the link with what was measured together with the source: the misalignment.

        It keeps its budget, and so its correlation with the source's other quantities. A
        record that does not hold it leaves the link as it is.

        Raises
        ------
        InconclusiveError
            If what was measured is none that a link can have.
        """
        found = [n for n in _MEASURED_WITH_THE_SOURCE if n in record.quantities]
        measured = {name: record.estimate(name) for name in found}
        for name, estimate in measured.items():
            allowed, holds = _ALLOWED[name]
            if not holds(estimate.value):
                raise InconclusiveError(
                    f"{name} was measured as {estimate.value:.4g}; a key needs {allowed}"
                )
        changed = {n: Constant(value=e.value, u=e.u) for n, e in measured.items()}
        link = self.model_copy(update=changed)
        link._measured = {**self._measured, **measured}
        return link

    def _estimate(self, name: str) -> Estimate:
        given: Constant = getattr(self, name)
        budget: tuple[Contribution, ...] = ()
        if given.u:
            budget = (Contribution(f"link: {name}", given.u, "B"),)
        if name == "channel_loss" and self.channel_parts:
            budget = tuple(
                Contribution(f"link: {part}", loss.u, "B")
                for part, loss in self.channel_parts.items()
                if loss.u
            )
        return Estimate(
            name=name,
            value=given.value,
            method=_METHOD,
            plane="channel" if name == "channel_loss" else "receiver",
            budget=budget,
        )


def load_link(path: PathLike | None) -> Link:
    """Read a link file.

    Parameters
    ----------
    path
        TOML file, or the ``link.json`` of a run; None for the link of the paper.

    Raises
    ------
    UsageError
        The file cannot be read, has an unknown key, or a value that is not allowed; the message
        names the file, the key and what is allowed.
    """
    path = None if path is None else Path(path)
    if path is None:
        return Link()
    table = read_toml_or_json(path)
    try:
        return Link.model_validate(table)
    except ValidationError as error:
        lines = [_plainly(problem) for problem in error.errors()]
        raise UsageError("\n".join(f"link file {path}: {line}" for line in lines)) from error


def _plainly(problem: Any) -> str:
    """Say one pydantic error in words for the person who wrote the file."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ["value", "u"] if "." in key else list(Link.model_fields)
        close = difflib.get_close_matches(key.rsplit(".")[-1], known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r}.{hint} Allowed: {', '.join(known)}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "literal_error":
        return f"{key} = {shown(problem['input'])}: allowed is {problem['ctx']['expected']}"
    allowed = _ALLOWED.get(str(problem["loc"][0]) if problem["loc"] else "")
    number = "a number"
    if problem["loc"] and problem["loc"][0] in _CONSTANTS:
        number = "a number, or a table {value = ..., u = ...}"
    what = f"{number}: {allowed[0]}" if allowed else number
    return f"{key} = {shown(problem['input'])}: allowed is {what}"
