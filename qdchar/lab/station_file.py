"""The station file: its tables, and the drivers that they name by dotted path."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from qdchar.certificates import ASSUMED
from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.files import PathLike, read_toml
from qdchar.interrupt import INTERRUPTS
from qdchar.quantities import Quantity, define, is_known, quantity
from qdchar.record import explain
from qdchar.toml_table import TomlTable

from .dotted_path import load_object

Policy = Literal["hold", "make_safe", "ramp_ground", "block"]
"""``hold`` leaves the output as it is; the other three call the driver's ``make_safe``, under the
name of what that does to a piezo or a shutter."""


SIMULATED = "simulated:"
"""How the address of an instrument of the simulated lab begins; its name there follows."""


class Certificate(TomlTable):
    """A ``[calibrations.NAME]`` table: a calibration that the lab relies on.

    Attributes
    ----------
    value, u
        Value and its standard uncertainty.
    unit
        Unit of both; that of the quantity.
    certificate
        Where it comes from: number and date of the certificate.
    shared
        Error sources that other certificates have, too (one power meter behind both): name to the
        part of `u` that comes from it, with its sign. The rest of `u` is the certificate's own.
    """

    value: FiniteFloat
    u: FiniteFloat = Field(ge=0)
    unit: str
    certificate: str = ""
    shared: dict[str, FiniteFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shared_is_part_of_u(self) -> Certificate:
        if math.hypot(*self.shared.values()) > self.u * (1.0 + 1e-9):
            raise ValueError("the shared parts make more than u")
        return self

    @property
    def u_own(self) -> float:
        """The part of `u` that no other certificate shares."""
        if not self.shared:
            return self.u
        shared = min(math.hypot(*self.shared.values()), self.u)
        return math.sqrt(self.u - shared) * math.sqrt(self.u + shared)  # no square may overflow


class SimulatedLabTable(TomlTable):
    """The ``[simulated_lab]`` table: the lab behind the addresses ``"simulated:NAME"``.

    It is started with the station and ends with it.

    Attributes
    ----------
    seed
        Everything random follows from it. The certificates of a station file that qdchar wrote
        are those of this seed: give them another, and they no longer belong to the instruments.
    settings
        ``"KEY=VALUE"`` of its true parameters, as `qdchar calibrate --set` takes them.
    """

    seed: int = Field(1, ge=0)
    settings: tuple[str, ...] = ()


class InstrumentTable(TomlTable):
    """A ``[links.NAME]`` table: the connection to a controller that several roles share.

    It has nothing to do with `qdchar.link`, the optical link of a key rate. Keys that are not named
    here go to the driver as keyword arguments.

    Attributes
    ----------
    driver
        ``"module:Class"``: one of ``qdchar.drivers``, or of a file beside the station file.
    address
        Where the instrument is, in the form that the driver reads, e.g. ``"tcp://10.0.0.5:7230"``.
        ``"simulated:NAME"`` is an instrument of the simulated lab.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    driver: str
    address: str | None = None


class RoleTable(InstrumentTable):
    """A ``[roles.NAME]`` table: an instrument, and how it is left.

    Keys that are not named here go to the driver as keyword arguments.

    Attributes
    ----------
    link
        In place of an address: name of the ``[links.NAME]`` table of the controller.
    on_success, on_error, on_interrupt
        What becomes of the instrument at the end: ``"hold"`` leaves its output as it is; with
        ``"make_safe"``, ``"ramp_ground"`` or ``"block"`` the driver brings it to its safe state.
    """

    link: str | None = None
    on_success: Policy = "hold"
    on_error: Policy = "make_safe"
    on_interrupt: Policy = "make_safe"


class StationFile(TomlTable):
    """The station file as it stands.

    Attributes
    ----------
    name
        Name of the lab.
    source
        Name of the source; it stands in the names of run folders.
    wavelength_m
        Vacuum wavelength of the source [m].
    nominal_clock_Hz
        Pulses per second of the pump laser, about [Hz].
    calibrations
        Certificates by name, see `Certificate`.
    simulated_lab
        The simulated lab, for stations with instruments of it.
    links
        Controllers that several roles share, by name.
    measurements
        The lab's own measurements: name to ``"module:NAME"``, a file beside the station file.
    roles
        Instruments by role.
    """

    name: str
    source: str
    wavelength_m: FiniteFloat = Field(gt=100e-9, lt=10e-6)
    nominal_clock_Hz: FiniteFloat = Field(gt=0)
    calibrations: dict[str, Certificate] = Field(default_factory=dict)
    simulated_lab: SimulatedLabTable | None = None
    links: dict[str, InstrumentTable] = Field(default_factory=dict)
    measurements: dict[str, str] = Field(default_factory=dict)
    roles: dict[str, RoleTable]

    @model_validator(mode="after")
    def _simulated_addresses_have_a_lab(self) -> StationFile:
        tables: dict[str, InstrumentTable] = {f"links.{n}": t for n, t in self.links.items()}
        tables |= {f"roles.{n}": t for n, t in self.roles.items()}
        simulated = [n for n, t in tables.items() if is_simulated(t.address)]
        if simulated and self.simulated_lab is None:
            raise ValueError(
                f"{', '.join(simulated)}: the address is in the simulated lab; add the table "
                "[simulated_lab], or give the address of a real instrument"
            )
        return self

    def needs_simulated_lab(self) -> bool:
        """Say whether any instrument is one of the simulated lab."""
        return any(is_simulated(t.address) for t in (*self.links.values(), *self.roles.values()))


def is_simulated(address: str | None) -> bool:
    """Say whether an address is one of the simulated lab."""
    return (address or "").startswith(SIMULATED)


_NOBODY = "tcp://127.0.0.1:9"
"""The discard port: an address of the right form for drivers that are not opened."""


def read_station_file(file: PathLike) -> StationFile:
    """Read a station file; names the key that is wrong. Raises UsageError."""
    file = Path(file)
    try:
        return StationFile.model_validate(read_toml(file))
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from None


def certificate_of(file: StationFile, origin: str, name: str) -> Estimate:
    """Return a certificate of a station file as an estimate, see `Station.calibration`.

    Parameters
    ----------
    origin
        Where the file is from, for messages.

    Raises
    ------
    UsageError
        If the station file has no such calibration.
    """
    if fault := why_no_certificate(file, name):
        raise UsageError(f"{origin}: {fault}")
    if name not in file.calibrations:
        assumed = ASSUMED[name]
        return Estimate(
            name=name,
            value=assumed.value,
            method=f"assumed: {assumed.why}",
            budget=(Contribution(f"assumed {name}", assumed.u, "B", 1.0),),
        )
    c = file.calibrations[name]
    if not is_known(name):
        define(Quantity(name, c.unit, name, name.replace("_", " "), "certificate of the lab"))
    return Estimate(
        name=name,
        value=c.value,
        method=c.certificate or "given (station file)",
        budget=(
            Contribution(f"calibration {name}", c.u_own, "B", 1.0),
            *(Contribution(f"shared calibration {k}", u, "B") for k, u in c.shared.items()),
        ),
    )


def why_no_certificate(file: StationFile, name: str) -> str:
    """Say why a certificate of a station file cannot be used; empty if it can."""
    unit = f", unit {quantity(name).unit!r}" if is_known(name) else ""
    if name not in file.calibrations:
        if name in ASSUMED:
            return ""
        return f"[calibrations.{name}] is missing (value, u{unit or ', unit'})"
    c = file.calibrations[name]
    if is_known(name) and c.unit != quantity(name).unit:
        return f"[calibrations.{name}]: unit is {c.unit!r}, must be {quantity(name).unit!r}"
    return ""


def build_driver(
    where: str,
    table: InstrumentTable,
    origin: str,
    links: Mapping[str, Any] | None = None,
    simulated: Mapping[str, str] | None = None,
) -> Any:
    """Make the driver object that a table describes; nothing is connected.

    Parameters
    ----------
    where, origin
        Table and file, for messages.
    table
        The table.
    links
        The links that roles may name.
    simulated
        Addresses of the simulated lab's instruments by their names there; None while it does not
        run: the driver then has an address at which nobody listens.

    Raises
    ------
    UsageError
        Names the key that is wrong.
    """
    folder = Path(origin).absolute().parent
    driver = load_object(table.driver, folder, f"{origin}: {where}")
    if not isinstance(driver, type):  # os:system would run the address
        raise UsageError(f"{origin}: {where}: driver {table.driver!r} is no class")
    link = table.link if isinstance(table, RoleTable) else None
    if (link is None) == (table.address is None):
        raise UsageError(f"{origin}: {where}: give either `address` or `link`")
    if link is not None and link not in (links or {}):
        raise UsageError(
            f"{origin}: {where}: link {link!r} is not among [links.*]: {', '.join(links or {})}"
        )
    first = _place(where, table.address, origin, simulated) if link is None else (links or {})[link]
    arguments = {
        key: _secret(where, value, origin) for key, value in (table.model_extra or {}).items()
    }
    accepted = [p for p in inspect.signature(driver).parameters.values()][1:]
    allowed = [p.name for p in accepted if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(allowed) == len(accepted):
        for key in arguments:
            if key not in allowed:
                raise UsageError(
                    f"{origin}: {where}: unknown key {key!r}; {table.driver} takes "
                    f"{', '.join(allowed) or 'none'}"
                )
    for p in accepted:
        if p.default is p.empty and p.name not in arguments and p.name in allowed:
            raise UsageError(f"{origin}: {where}: key {p.name!r} is missing")
    try:
        return driver(first, **arguments)
    except UsageError as error:
        raise UsageError(f"{origin}: {where}: {error}") from None
    except INTERRUPTS:
        raise
    except BaseException as error:  # a lab's own driver may raise anything
        kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
        raise UsageError(f"{origin}: {where}: {table.driver} refuses: {kind}{error}") from None


def _place(
    where: str, address: str | None, origin: str, simulated: Mapping[str, str] | None
) -> str | None:
    """Replace ``"simulated:NAME"`` by the address at which the instrument listens."""
    if address is None or not is_simulated(address):
        return address
    if simulated is None:
        return _NOBODY
    name = address.removeprefix(SIMULATED)
    if name not in simulated:
        raise UsageError(
            f"{origin}: {where}: the simulated lab has no instrument {name!r}; it has "
            f"{', '.join(simulated)}"
        )
    return simulated[name]


def _secret(where: str, value: Any, origin: str) -> Any:
    """Replace ``"env:NAME"`` by the environment variable, so that no secret is in the file."""
    if not (isinstance(value, str) and value.startswith("env:")):
        return value
    name = value.removeprefix("env:")
    if name not in os.environ:
        raise UsageError(f"{origin}: {where}: environment variable {name} is not set")
    return os.environ[name]
