"""The source record: one source's figures with covariance and provenance, as JSON.

The record is what a calibration hands to whatever runs the key exchange, so it is strict: a name
outside the vocabulary, a unit that is not the vocabulary's, a negative uncertainty or a record
past its validity is an error that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    computed_field,
    model_validator,
)

from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate, Kind, covariance

SCHEMA: Literal["qdchar/source-record/1"] = "qdchar/source-record/1"


@dataclass(frozen=True)
class Term:
    """One entry of the vocabulary: the unit and the symbol that a figure is printed with."""

    unit: str
    symbol: str
    meaning: str


VOCABULARY: Mapping[str, Term] = {
    "clock_rate": Term("Hz", "R", "pulse rate"),
    "lifetime": Term("s", "T1", "1/e decay time of the emission"),
    "temporal_fwhm": Term("s", "t_FWHM", "intensity FWHM of the wavepacket, response removed"),
    "response_fwhm": Term("s", "t_IRF", "FWHM of the instrument response"),
    "linewidth": Term("Hz", "Δν", "FWHM of the emission line, etalon removed"),
    "linewidth_lorentz": Term("Hz", "f_L", "Lorentzian part of the linewidth"),
    "linewidth_gauss": Term("Hz", "f_G", "Gaussian part of the linewidth"),
    "fourier_linewidth": Term("Hz", "Δν_FL", "Fourier limit 1/(2 pi T1)"),
    "linewidth_ratio": Term("1", "Δν/Δν_FL", "linewidth over the Fourier limit"),
    "collection_efficiency": Term("1", "η_QD", "mean photon number per pulse in the fibre"),
    "transmitter_efficiency": Term("1", "η_T", "fibre to transmitter output"),
    "mean_photon_number": Term("1", "<n>", "per pulse at the transmitter output"),
    "p1": Term("1", "p1", "<n> - 2 p2 at the transmitter output"),
    "p2": Term("1", "p2", "g2 <n>^2 / 2 at the transmitter output"),
    "g2_zero": Term("1", "g2(0)", "raw, time-averaged, at the transmitter output"),
    "g2_zero_source": Term("1", "g2(0)_s", "raw, time-averaged, in the fibre"),
    "g2_zero_upper": Term("1", "g2(0)_95", "one-sided 95 % upper limit of g2_zero"),
    "g2_zero_source_upper": Term("1", "g2(0)_s,95", "one-sided 95 % upper limit of g2_zero_source"),
    "g2_zero_on": Term("1", "g2(0)_on", "g2_zero of the on-state of a blinking source"),
    "g2_zero_source_on": Term("1", "g2(0)_s,on", "g2_zero_source of the on-state"),
    "g2_zero_corrected": Term("1", "g2(0)_c", "g2_zero with background light removed"),
    "g2_zero_source_corrected": Term("1", "g2(0)_s,c", "g2_zero_source, background light removed"),
    "g2_zero_time_averaged": Term(
        "1", "g2(0)_inf", "against independent photons, blinking included"
    ),
    "g2_zero_dip": Term("1", "g2(0)_dip", "bottom of the dip as seen, response included"),
    "antibunching_time": Term("s", "t1", "1/e time of the dip, continuous excitation"),
    "bunching_amplitude": Term("1", "a", "of the emitter's own light, continuous excitation"),
    "bunching_time": Term("s", "t2", "1/e time of the bunching, continuous excitation"),
    "g2_reexcitation": Term("1", "g0", "g2(0) of the dot's own light, leaked laser removed"),
    "blinking_amplitude": Term("1", "b", "bunching amplitude of the side peaks"),
    "blinking_amplitude_sent": Term(
        "1", "b, sent", "bunching amplitude of the side peaks at the transmitter output"
    ),
    "pi_power": Term("W", "P_pi", "pump power of pulse area pi"),
    "max_power": Term("W", "P_max", "pump power of the brightness maximum"),
    "rabi_damping": Term("1", "k_phi", "damping of the Rabi oscillation per theta^2"),
    "saturation_power": Term("W", "P_sat", "pump power that fills the dot to 1 - 1/e, or to half"),
    "saturated_rate": Term("Hz", "R_sat", "detected rate at full saturation, without dead time"),
    "cavity_resonance_voltage": Term("V", "V_c", "fine piezo voltage of the resonance"),
    "cavity_count_fwhm_voltage": Term("V", "w_V", "FWHM of the count rate against voltage"),
    "cavity_fsr_voltage": Term("V", "V_FSR", "piezo voltage of one order, lambda/2"),
    "cavity_metres_per_volt": Term("m/V", "dz/dV", "mirror displacement per volt"),
    "cavity_count_fwhm": Term("m", "w_z", "FWHM of the count rate in displacement"),
    "cavity_fwhm_displacement": Term("m", "w_c", "FWHM of the cavity mode in displacement"),
    "cavity_fwhm": Term("Hz", "kappa_c", "FWHM of the cavity mode"),
    "cavity_finesse": Term("1", "F", "free spectral range over FWHM of the cavity"),
    "cavity_quality_factor": Term("1", "Q", "wavelength over FWHM of the cavity mode"),
    "cavity_wavelength": Term("m", "λ_c", "vacuum wavelength of the cavity's resonance"),
    "cavity_fwhm_wavelength": Term(
        "m", "κ_λ", "FWHM of the cavity mode in wavelength, as measured"
    ),
    "reflectivity_contrast": Term("1", "C_R", "depth of the dip in the cavity's reflectivity"),
    "purcell_factor": Term("1", "F_P", "acceleration of the decay on resonance"),
    "beta_factor": Term("1", "β", "share of the emission into the mode, on resonance"),
    "lifetime_on_resonance": Term("s", "T1_0", "1/e decay time on the cavity's resonance"),
    "lifetime_detuned": Term("s", "T_b", "1/e decay time with the cavity detuned"),
    "cavity_fwhm_voltage": Term("V", "κ_V", "FWHM of the cavity mode against voltage"),
    "etalon_overlap": Term("1", "O_e", "share of the line that the etalon passes at its peak"),
    "transmitter_efficiency_chain": Term("1", "η_T,c", "product of the transmitter's parts"),
    "collection_efficiency_chain": Term("1", "η_QD,c", "product of the collection's parts"),
    "laser_leakage": Term("1", "μ_L", "laser photons per pulse in the fibre"),
    "etalon_fwhm": Term("Hz", "kappa", "FWHM of the etalon's transmission"),
    "etalon_fsr": Term("Hz", "FSR", "free spectral range of the etalon"),
    "etalon_finesse": Term("1", "F_e", "free spectral range over FWHM of the etalon"),
    "etalon_peak_voltage": Term("V", "V_e", "etalon piezo voltage of highest transmission"),
    "misalignment": Term("1", "p_mis", "wrong clicks over all, darks removed; mean of the states"),
    "misalignment_worst": Term("1", "p_mis,w", "the same for the worst state"),
    "channel_loss": Term("dB", "loss", "loss of the channel"),
    "fiber_optics_efficiency": Term("1", "η_FO", "receiver optics"),
    "detector_efficiency": Term("1", "η_D", "detection efficiency"),
    "detector_efficiency_measured": Term("1", "η_D,m", "detection efficiency by substitution"),
    "dark_count_rate": Term("Hz", "DC", "total over the detectors"),
    "gate_width": Term("s", "t_GW", "width of the time gate"),
    "gate_captured_fraction": Term("1", "ε_g", "share of the signal in the time gate"),
    "dark_count_probability": Term("1", "p_DC", "per pulse, total over the detectors"),
    "dead_time": Term("s", "t_d", "dead time of a detector"),
    "visibility": Term("1", "V", "two-photon interference visibility, raw"),
    "indistinguishability": Term("1", "M", "overlap of two photons from consecutive pulses"),
    "phase_visibility": Term("1", "V_φ", "first-order coherence of consecutive pulses"),
    "electronic_delay": Term("s", "t_0", "delay at which the zero-delay peak sits"),
    "pulse_period": Term("s", "T", "pulse period"),
}


def _known_name(name: str) -> str:
    if name not in VOCABULARY:
        raise ValueError(f"{name!r} is not in the record's vocabulary")
    return name


class BudgetLine(BaseModel):
    """One independent error source of a figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    u: FiniteFloat
    kind: Kind


class Figure(BaseModel):
    """One `Estimate` as it stands in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    u: Annotated[FiniteFloat, Field(ge=0)]
    unit: str
    definition: str
    method: str
    plane: str = ""
    interval_68: tuple[FiniteFloat, FiniteFloat] | None = None
    interval_95: tuple[FiniteFloat, FiniteFloat] | None = None
    budget: tuple[BudgetLine, ...] = ()

    @model_validator(mode="after")
    def _budget_makes_u(self) -> Figure:
        total = float(np.sqrt(sum(line.u**2 for line in self.budget)))
        if abs(total - self.u) > 1e-6 * max(total, self.u):
            raise ValueError(f"u is {self.u:g}, but its budget adds up to {total:g}")
        return self

    @classmethod
    def of(cls, estimate: Estimate) -> Figure:
        """Write an estimate down."""
        return cls(
            value=estimate.value,
            u=estimate.u,
            unit=estimate.unit,
            definition=estimate.definition,
            method=estimate.method,
            plane=estimate.plane,
            interval_68=estimate.interval_68,
            interval_95=estimate.interval_95,
            budget=tuple(BudgetLine(source=c.source, u=c.u, kind=c.kind) for c in estimate.budget),
        )

    def estimate(self, name: str) -> Estimate:
        """Read it back."""
        return Estimate(
            name=name,
            value=self.value,
            unit=self.unit,
            definition=self.definition,
            method=self.method,
            plane=self.plane,
            budget=tuple(Contribution(b.source, b.u, b.kind) for b in self.budget),
            interval_68=self.interval_68,
            interval_95=self.interval_95,
        )


class RawFile(BaseModel):
    """A raw file that the figures rest on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Name = Annotated[str, AfterValidator(_known_name)]


class SourceRecord(BaseModel):
    """One source's figures at one time.

    Attributes
    ----------
    created, valid_until
        UTC; past `valid_until` the source has to be measured again.
    tuning
        The state in which the figures hold: piezo voltages, pump power, attenuation.
    quantities
        Name to figure; correlations live in shared budget lines.
    raw
        The raw files with their hashes.
    problems
        Reasons why a figure is not to be trusted; empty for a sound record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["qdchar/source-record/1"] = Field(default=SCHEMA, alias="schema")
    qdchar_version: str
    source: str
    station: str
    simulated: bool
    created: datetime
    valid_until: datetime
    tuning: dict[str, FiniteFloat | str]
    quantities: dict[Name, Figure]
    raw: tuple[RawFile, ...] = ()
    problems: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key != "correlation"}
        return data

    @model_validator(mode="after")
    def _units_are_the_vocabulary_s(self) -> SourceRecord:
        for name, figure in self.quantities.items():
            if figure.unit != VOCABULARY[name].unit:
                raise ValueError(
                    f"{name}: unit is {figure.unit!r}, must be {VOCABULARY[name].unit!r}"
                )
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def correlation(self) -> list[list[float]]:
        """Correlation matrix in the order of `quantities`, for readers in other languages."""
        cov = covariance([f.estimate(n) for n, f in self.quantities.items()])
        u = np.sqrt(np.diag(cov))
        scale = np.where(u > 0, u, 1.0)
        return [[float(f"{v:.6g}") for v in row] for row in cov / np.outer(scale, scale)]

    def estimate(self, name: str) -> Estimate:
        """Return one figure.

        Raises
        ------
        RecordError
            If the record does not hold it.
        """
        if name not in self.quantities:
            raise RecordError(
                f"the record of {self.source} holds no {name}; it holds "
                f"{', '.join(self.quantities)}"
            )
        return self.quantities[name].estimate(name)

    def write(self, file: Path) -> None:
        """Write as JSON, in one piece."""
        partial = file.with_suffix(".partial")
        partial.write_text(self.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
        partial.replace(file)


def make_record(
    estimates: Sequence[Estimate],
    *,
    qdchar_version: str,
    source: str,
    station: str,
    simulated: bool,
    valid_for: timedelta,
    tuning: Mapping[str, float | str],
    raw: Sequence[RawFile] = (),
    problems: Sequence[str] = (),
) -> SourceRecord:
    """Put figures and their provenance together."""
    now = datetime.now(UTC)
    return SourceRecord(
        schema=SCHEMA,
        qdchar_version=qdchar_version,
        source=source,
        station=station,
        simulated=simulated,
        created=now,
        valid_until=now + valid_for,
        tuning=dict(tuning),
        quantities={e.name: Figure.of(e) for e in estimates},
        raw=tuple(raw),
        problems=tuple(problems),
    )


def load_record(file: Path, *, now: datetime | None = None, stale_ok: bool = False) -> SourceRecord:
    """Read a record and check it.

    Parameters
    ----------
    file
        ``record.json``, or a run folder that holds one.
    now
        The time against which the validity is held; the present by default.
    stale_ok
        Accept a record past its validity.

    Raises
    ------
    RecordError
        If it cannot be read, is invalid or stale; names the field.
    """
    if file.is_dir():
        file = file / "record.json"
    try:
        text = file.read_text(encoding="utf-8")
        record = SourceRecord.model_validate(json.loads(text))
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"{file}: not JSON: {error}") from None
    except ValidationError as error:
        raise RecordError(f"{file}: {explain(error)}") from None
    if not stale_ok and (now or datetime.now(UTC)) > record.valid_until:
        raise RecordError(
            f"{file}: stale: valid_until is {record.valid_until:%Y-%m-%d %H:%M} UTC; measure the "
            "source again"
        )
    return record


def explain(error: ValidationError) -> str:
    """Say in one line each which field is wrong and why."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "the whole"
        value = item["input"]
        given = "" if isinstance(value, dict | BaseModel) else f" (given: {value!r})"
        lines.append(f"{where}: {item['msg']}{given}")
    return "; ".join(lines)
