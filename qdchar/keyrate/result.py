"""What a key-rate prediction returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from qdchar.estimate import Contribution, Estimate

from .link_parameters import BlockKind
from .operating_point import DecoySettings
from .single_photon.finite_key import Phase

Protocol = Literal["efficient-bb84", "three-state"]
DecoyProtocol = Literal["efficient-bb84-decoy", "three-state-decoy"]

PHASE: dict[str, Phase] = {"efficient-bb84": "eb", "three-state": "lt"}


@dataclass(frozen=True)
class Comparison:
    """What coherent light gives on the same link, by a named protocol.

    Attributes
    ----------
    name
        One of `qdchar.keyrate.comparators.COMPARATORS`.
    rate_per_pulse
        Secret bits per sent pulse.
    advantage_dB
        The source's rate over this one [dB]; None where either rate is zero.
    budget
        Contributions to the uncertainty of `advantage_dB` [dB]: what moves both rates, such as
        the channel's loss, counts by the difference that it makes.
    """

    name: str
    rate_per_pulse: float
    advantage_dB: float | None
    budget: tuple[Contribution, ...] = ()

    @property
    def advantage_dB_u(self) -> float | None:
        """Standard uncertainty of `advantage_dB`; None without one."""
        if self.advantage_dB is None:
            return None
        return math.sqrt(sum(c.u**2 for c in self.budget))


@dataclass(frozen=True)
class KeyRate:
    """Predicted key of a source on a link at one loss.

    Attributes
    ----------
    protocol, accounting
        The proof, and how multi-photon pulses are counted.
    block, block_kind
        Size of the block and how it is counted.
    comparator_name
        Coherent light with the same protocol, whether or not it was asked for.
    loss_dB
        Channel loss, receiver not included.
    rate_per_pulse
        Secret bits per sent pulse.
    budget
        Contributions to the uncertainty of `rate_per_pulse`, by error source: first order, at
        fixed settings, which is exact to first order at an optimum. Zero where the rate is zero.
    rate_bps
        Secret bits per second.
    p_z, attenuation
        Alice's Z probability and the pre-attenuation, optimum or given.
    qber, phase_error
        Error rate of the sifted key; upper bound on its phase-error rate.
    gain
        Detections per sent pulse.
    detector_rate_hz
        Clicks per second of the busiest detector.
    p2
        Multi-photon probability of a sent pulse that is given up.
    eps_source
        Failure probability of `p2` as an upper limit; None where it is the best estimate.
    key_length, pulses_sent, acquisition_time_s
        Of one block; None in the asymptotic case.
    decoy
        Settings of the switched attenuator; None without decoy states.
    comparators
        Coherent light on the same link, one entry per named protocol.
    assumptions
        What the rate assumes, in sentences; see `qdchar.keyrate.assumptions`.
    """

    protocol: Protocol | DecoyProtocol
    accounting: Literal["alice", "joint", "decoy"]
    block: float
    block_kind: BlockKind
    comparator_name: str
    loss_dB: float
    rate_per_pulse: float
    budget: tuple[Contribution, ...]
    rate_bps: float
    p_z: float
    attenuation: float
    qber: float
    phase_error: float
    gain: float
    detector_rate_hz: float
    p2: float
    eps_source: float | None
    key_length: float | None
    pulses_sent: float | None
    acquisition_time_s: float | None
    comparators: tuple[Comparison, ...]
    assumptions: tuple[str, ...]
    decoy: DecoySettings | None = None

    @property
    def rate_per_pulse_u(self) -> float:
        """Standard uncertainty of `rate_per_pulse`."""
        return math.sqrt(sum(c.u**2 for c in self.budget))

    @property
    def rate_bps_u(self) -> float:
        """Standard uncertainty of `rate_bps`, with the clock taken as exact."""
        if self.rate_per_pulse == 0:
            return 0.0
        return self.rate_bps * self.rate_per_pulse_u / self.rate_per_pulse

    @property
    def like_with_like(self) -> Comparison | None:
        """Coherent light with the same protocol; None where it was not asked for."""
        return {c.name: c for c in self.comparators}.get(self.comparator_name)

    def comparator(self, name: str) -> Comparison:
        """Return the comparison of this name; KeyError where it was not asked for."""
        return {c.name: c for c in self.comparators}[name]

    def estimate(self) -> Estimate:
        """Rate per pulse as an Estimate."""
        return Estimate(
            name="rate_per_pulse",
            value=self.rate_per_pulse,
            method=(
                f"predicted from mean_photon_number, g2_zero and the link at {self.loss_dB:g} dB; "
                f"{self.protocol}, accounting {self.accounting}, block {self.block:g} "
                f"{self.block_kind}"
            ),
            plane="transmitter output",
            budget=self.budget,
        )

    def _repr_html_(self) -> str:
        from qdchar.html_tables import key_rate_html

        return key_rate_html(self)

    def as_json(self) -> dict[str, Any]:
        """One entry of ``points`` in the output of ``qdchar keyrate --json``."""
        return {
            "loss_dB": self.loss_dB,
            "rate_per_pulse": self.rate_per_pulse,
            "rate_per_pulse_u": self.rate_per_pulse_u,
            "rate_bps": self.rate_bps,
            "p_z": self.p_z,
            "attenuation": self.attenuation,
            "eps_source": self.eps_source,
            "qber": self.qber,
            "phase_error": self.phase_error,
            "detector_rate_hz": self.detector_rate_hz,
            "key_length": self.key_length,
            "pulses_sent": self.pulses_sent,
            "acquisition_time_s": self.acquisition_time_s,
            "decoy": None if self.decoy is None else asdict(self.decoy),
            "comparator": self.comparator_name,
            "comparators": {
                c.name: {
                    "rate_per_pulse": c.rate_per_pulse,
                    "advantage_dB": c.advantage_dB,
                    "advantage_dB_u": c.advantage_dB_u,
                }
                for c in self.comparators
            },
            "assumptions": list(self.assumptions),
        }

    def as_document(self) -> dict[str, Any]:
        """Everything, as `from_document` reads it back; the keys of `as_json` are among it."""
        comparators = self.as_json()["comparators"]
        for c in self.comparators:
            comparators[c.name]["budget"] = [asdict(line) for line in c.budget]
        return {**asdict(self), **self.as_json(), "comparators": comparators}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> KeyRate:
        """Read back what `as_document` gave.

        Raises
        ------
        KeyError
            An entry is missing.
        """
        values = {f.name: document[f.name] for f in fields(cls)}
        if values["decoy"] is not None:
            values["decoy"] = DecoySettings(**values["decoy"])
        values["assumptions"] = tuple(values["assumptions"])
        values["budget"] = _budget(values["budget"])
        values["comparators"] = tuple(
            Comparison(name, c["rate_per_pulse"], c["advantage_dB"], _budget(c["budget"]))
            for name, c in values["comparators"].items()
        )
        return cls(**values)


def _budget(lines: Sequence[Mapping[str, Any]]) -> tuple[Contribution, ...]:
    return tuple(Contribution(**line) for line in lines)


def advantage_dB(rate: float, other: float) -> float | None:
    """Ratio of two rates [dB]; None where either is zero and there is no ratio."""
    return 10 * math.log10(rate / other) if rate > 0 and other > 0 else None
