"""The station: the open instruments by role, from one TOML file.

A driver is named by its dotted path, so a lab's own plugs in without a registry. Instruments are
opened in a `with`. However that block ends, each instrument that was handed out for use is left as
the file's policy says: its output is held, or it is brought to its safe state.
"""

from __future__ import annotations

import inspect
import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from qdchar.errors import InstrumentError, MakeSafeError, QdcharError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.interrupt import Terminated, signals_held, signals_unwind
from qdchar.quantities import Quantity, define, is_known, quantity
from qdchar.record import explain
from qdchar.roles import Identity, Instrument, Reading

from .dotted_path import load_object

T = TypeVar("T")

Policy = Literal["hold", "make_safe", "ramp_ground", "block"]
"""``hold`` leaves the output as it is; the other three call the driver's ``make_safe``, under the
name of what that does to a piezo or a shutter."""


class Certificate(BaseModel):
    """A calibration that the lab relies on.

    Attributes
    ----------
    shared
        Error sources that other certificates have, too (one power meter behind both): name to the
        part of `u` that comes from it, with its sign. The rest of `u` is the certificate's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    u: FiniteFloat = Field(ge=0)
    unit: str
    certificate: str = ""
    shared: dict[str, FiniteFloat] = {}

    @model_validator(mode="after")
    def _shared_is_part_of_u(self) -> Certificate:
        if sum(u**2 for u in self.shared.values()) > self.u**2 * (1.0 + 1e-9):
            raise ValueError("the shared parts add up to more than u (sum of squares)")
        return self

    @property
    def u_own(self) -> float:
        """The part of `u` that no other certificate shares."""
        if not self.shared:
            return self.u
        return math.sqrt(max(self.u**2 - sum(u**2 for u in self.shared.values()), 0.0))


class InstrumentTable(BaseModel):
    """A ``[links.NAME]`` table: the connection to a controller that several roles share.

    It has nothing to do with `qdchar.link`, the optical link of a key rate. Keys that are not named
    here go to the driver as keyword arguments.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    driver: str
    address: str | None = None


class RoleTable(InstrumentTable):
    """A ``[roles.NAME]`` table."""

    link: str | None = None
    on_success: Policy = "hold"
    on_error: Policy = "make_safe"
    on_interrupt: Policy = "make_safe"


class StationFile(BaseModel):
    """The station file as it stands.

    Attributes
    ----------
    measurements
        The lab's own measurements: name to ``"module:NAME"``, a file beside the station file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    wavelength_m: FiniteFloat = Field(gt=100e-9, lt=10e-6)
    nominal_clock_Hz: FiniteFloat = Field(gt=0)
    calibrations: dict[str, Certificate] = {}
    links: dict[str, InstrumentTable] = {}
    measurements: dict[str, str] = {}
    roles: dict[str, RoleTable]


@dataclass
class _Role:
    name: str
    table: RoleTable
    device: Any
    in_use: bool = False


class Station:
    """The instruments of one lab, opened by `with`.

    Parameters
    ----------
    file
        The parsed station file.
    origin
        Where it came from, for messages.
    say
        Called with a line of text for each instrument that is brought to safety.
    """

    def __init__(self, file: StationFile, origin: str, say: Callable[[str], None] = print) -> None:
        self.file = file
        self.origin = origin
        self._say = say
        links = {name: _build(f"links.{name}", t, origin) for name, t in file.links.items()}
        self._links: dict[str, Any] = links
        self._roles = {
            name: _Role(name, t, _build(f"roles.{name}", t, origin, links))
            for name, t in file.roles.items()
        }
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(signals_unwind())
            for device in (*self._links.values(), *(r.device for r in self._roles.values())):
                stack.callback(device.close)
                _open(device)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            if kind is None:
                self._leave("on_success")
            elif issubclass(kind, KeyboardInterrupt | Terminated):
                self._leave("on_interrupt")
            else:
                self._leave("on_error")

    def _leave(self, occasion: str) -> None:
        self._make_safe(
            [r for r in self._roles.values() if r.in_use and getattr(r.table, occasion) != "hold"]
        )

    def _make_safe(self, roles: list[_Role]) -> None:
        """Bring roles to safety; if one fails, the others are made safe all the same."""
        failures = []
        with signals_held():
            for role in roles:
                self._tell(f"bringing {role.name} to safety ...")
                try:
                    role.device.make_safe()
                    role.in_use = False
                except Exception as error:
                    failures.append(f"{role.name} ({role.table.driver}): {error}")
        if failures:
            raise MakeSafeError(
                "MAKE-SAFE FAILED, look at the instruments now: " + "; ".join(failures)
            )

    def _tell(self, text: str) -> None:
        """Tell the operator. A message that fails must not keep an instrument from safety."""
        with suppress(Exception):
            self._say(text)

    def make_safe(self) -> list[str]:
        """Bring every instrument that can do harm to its safe state, one after the other.

        For a station that is not open. Each role is opened, brought to safety and closed on its
        own, so that the others are made safe even if one does not answer.

        Returns
        -------
        list of str
            The roles that are safe now.

        Raises
        ------
        MakeSafeError
            Names the roles that are safe and those that could not be brought to safety, and why.
        """
        done, failures = [], []
        with signals_held():
            for role in self._roles.values():
                if not hasattr(role.device, "make_safe"):
                    continue
                self._tell(f"bringing {role.name} to safety ...")
                try:
                    with ExitStack() as stack:
                        for device in (self._links.get(role.table.link or ""), role.device):
                            if device is not None:
                                stack.callback(device.close)
                                _open(device)
                        role.device.make_safe()
                    done.append(role.name)
                except Exception as error:
                    failures.append(f"{role.name} ({role.table.driver}): {error}")
        if failures:
            raise MakeSafeError(
                "MAKE-SAFE FAILED, look at these instruments now: "
                + "; ".join(failures)
                + f". Safe: {', '.join(done) or 'none'}"
            )
        return done

    def role(self, name: str, kind: type[T]) -> T:
        """Hand out an instrument for use.

        From here on it counts as moved: on the way out it is left as its policy says. To look at
        its limits or its state only, take `look`.

        Parameters
        ----------
        name
            Role as in the station file, e.g. ``"cavity_fine"``.
        kind
            The protocol class of `qdchar.roles` that it must fit.

        Raises
        ------
        UsageError
            If the station file has no such role, or its driver lacks a method of the role.
        """
        device = self.look(name, kind)
        self._roles[name].in_use = hasattr(device, "make_safe")
        return device

    def look(self, name: str, kind: type[T]) -> T:
        """Hand out an instrument for looking only: on the way out it is left alone.

        Parameters and errors as for `role`.
        """
        if fault := self.unfit(name, kind):
            raise UsageError(f"{self.origin}: {fault}")
        return cast(T, self._roles[name].device)

    def unfit(self, name: str, kind: type | None) -> str:
        """Say why a role cannot be used as a kind of instrument; empty if it can.

        Parameters
        ----------
        kind
            The protocol class of `qdchar.roles`; None for a lab's own role, whose contract only
            its own measurement knows.
        """
        called = "" if kind is None else f" ({kind.__name__})"
        if name not in self._roles:
            return f"[roles.{name}]{called} is missing"
        role = self._roles[name]
        if kind is None:
            return ""
        methods = [m for m in dir(kind) if not m.startswith("_")]
        missing = [m for m in methods if inspect.getattr_static(role.device, m, None) is None]
        if missing:
            return (
                f"[roles.{name}]: {role.table.driver} does not fit as {kind.__name__}: it has no "
                f"{', '.join(missing)}"
            )
        return ""

    def limits(self, name: str) -> tuple[float, float]:
        """Return the limits of a role as its driver knows them, without opening it [V or dB]."""
        device = self._roles[name].device
        low, high = device.limits_V if hasattr(device, "limits_V") else device.limits_dB
        return float(low), float(high)

    def instruments(self) -> Iterator[tuple[str, Instrument]]:
        """Yield role names and instruments, for reading only."""
        for role in self._roles.values():
            yield role.name, role.device

    def survey(
        self,
    ) -> Iterator[tuple[str, tuple[Identity, Mapping[str, Reading]] | InstrumentError]]:
        """Open, identify and read one instrument after the other, and close it again.

        For a station that is not open. If an instrument does not answer, its error is yielded in
        place of its identity and state.
        """
        for role in self._roles.values():
            link = self._links.get(role.table.link or "")
            try:
                with ExitStack() as stack:
                    for device in (link, role.device):
                        if device is not None:
                            stack.callback(device.close)
                            _open(device)
                    yield role.name, (role.device.identify(), role.device.snapshot())
            except InstrumentError as error:
                yield role.name, error
            except Exception as error:  # a lab's own driver may raise anything
                yield role.name, InstrumentError(f"{type(error).__name__}: {error}")

    def identities(self) -> dict[str, Identity]:
        """Ask every instrument who it is."""
        return {name: device.identify() for name, device in self.instruments()}

    def snapshot(self) -> dict[str, dict[str, Reading]]:
        """Read the state of every instrument from the device."""
        return {name: dict(device.snapshot()) for name, device in self.instruments()}

    def calibration(self, name: str) -> Estimate:
        """Return a certificate as an estimate; its error is one source, shared by its users.

        Raises
        ------
        UsageError
            If the station file has no such calibration.
        """
        if fault := self.no_certificate(name):
            raise UsageError(f"{self.origin}: {fault}")
        c = self.file.calibrations[name]
        if not is_known(name):
            define(Quantity(name, c.unit, name, name.replace("_", " "), "certificate of the lab"))
        return Estimate(
            name=name,
            value=c.value,
            method=c.certificate or "given (station file)",
            budget=(
                Contribution(f"calibration {name}", c.u_own, "B"),
                *(Contribution(f"shared calibration {k}", u, "B") for k, u in c.shared.items()),
            ),
        )

    def no_certificate(self, name: str) -> str:
        """Say why a certificate cannot be used; empty if it can."""
        unit = f", unit {quantity(name).unit!r}" if is_known(name) else ""
        if name not in self.file.calibrations:
            return f"[calibrations.{name}] is missing (value, u{unit or ', unit'})"
        c = self.file.calibrations[name]
        if is_known(name) and c.unit != quantity(name).unit:
            return f"[calibrations.{name}]: unit is {c.unit!r}, must be {quantity(name).unit!r}"
        return ""


def _open(device: Any) -> None:
    """Open an instrument; any error of a lab's own driver means that it cannot be reached."""
    try:
        device.open()
    except QdcharError:
        raise
    except Exception as error:
        raise InstrumentError(
            f"{type(device).__name__} cannot be opened: {type(error).__name__}: {error}"
        ) from error


def load_station(file: Path, say: Callable[[str], None] = print) -> Station:
    """Read a station file and build its drivers; nothing is connected yet.

    Raises
    ------
    UsageError
        Names the key that is wrong and says what is allowed.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        parsed = StationFile.model_validate(data)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from None
    return Station(parsed, str(file), say)


def _build(
    where: str, table: InstrumentTable, origin: str, links: Mapping[str, Any] | None = None
) -> Any:
    """Make the driver object that a table describes."""
    folder = Path(origin).absolute().parent
    driver = load_object(table.driver, folder, f"{origin}: {where}")
    link = table.link if isinstance(table, RoleTable) else None
    if (link is None) == (table.address is None):
        raise UsageError(f"{origin}: {where}: give either `address` or `link`")
    if link is not None and link not in (links or {}):
        raise UsageError(
            f"{origin}: {where}: link {link!r} is not among [links.*]: {', '.join(links or {})}"
        )
    first = table.address if link is None else (links or {})[link]
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
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{origin}: {where}: {table.driver} does not accept this table: {error}"
        ) from None


def _secret(where: str, value: Any, origin: str) -> Any:
    """Replace ``"env:NAME"`` by the environment variable, so that no secret is in the file."""
    if not (isinstance(value, str) and value.startswith("env:")):
        return value
    name = value.removeprefix("env:")
    if name not in os.environ:
        raise UsageError(f"{origin}: {where}: environment variable {name} is not set")
    return os.environ[name]
