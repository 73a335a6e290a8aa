"""The station: the open instruments by role, from one TOML file.

A driver is named by its dotted path, so a lab's own plugs in without a registry. Instruments are
opened in a `with`. However that block ends, each instrument that was handed out for use is left as
the file's policy says: its output is held, or it is brought to its safe state.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import walk_tb
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from qdchar.errors import InstrumentError, MakeSafeError, QdcharError, UsageError, described
from qdchar.estimate import Estimate
from qdchar.files import PathLike
from qdchar.interrupt import INTERRUPTS, signals_held, signals_unwind
from qdchar.roles import Identity, Instrument, Reading

from .simulated import SimulatedLab, simulated_lab
from .station_file import (
    RoleTable,
    StationFile,
    build_driver,
    certificate_of,
    is_simulated,
    read_station_file,
    why_no_certificate,
)
from .station_lock import StationLock

T = TypeVar("T")


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
        self._links: dict[str, Any] = {}
        self._roles: dict[str, _Role] = {}
        self._lab: SimulatedLab | None = None
        self._build(None)
        self._open = ExitStack()
        self._lock = StationLock(file.name, self._addresses())

    def _build(self, simulated: Mapping[str, str] | None) -> None:
        """Make the drivers; `simulated` has the addresses of a simulated lab that runs."""
        file, origin = self.file, self.origin
        links = {
            name: build_driver(f"links.{name}", t, origin, simulated=simulated)
            for name, t in file.links.items()
        }
        self._links = links
        self._roles = {
            name: _Role(name, t, build_driver(f"roles.{name}", t, origin, links, simulated))
            for name, t in file.roles.items()
        }

    def _addresses(self) -> Iterator[str]:
        """Yield the addresses that only one run at a time may use.

        All but the taggers', and those of the simulated lab, which each run has for itself.
        """
        for table in self.file.links.values():
            if not is_simulated(table.address):
                yield table.address or ""
        for role in self._roles.values():
            address = role.table.address
            shared = is_simulated(address) or hasattr(role.device, "stream")
            if address is not None and not shared:
                yield address

    @contextmanager
    def simulated_lab(
        self, folder: Path | None = None, faults: Sequence[str] = ()
    ) -> Iterator[SimulatedLab | None]:
        """Run the simulated lab that the station file asks for, while the `with` block runs.

        Entering the station does it, too. Call it before for `survey` and `make_safe`, or to keep
        the lab's state in a folder.

        Parameters
        ----------
        folder
            See `qdchar.lab.simulated.simulated_lab`; a temporary one where not given.
        faults
            What breaks in the lab.

        Yields
        ------
        SimulatedLab
            None if no instrument is one of the simulated lab.
        """
        table = self.file.simulated_lab
        if table is None or self._lab is not None or not self.file.needs_simulated_lab():
            yield self._lab
            return
        with ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(TemporaryDirectory()))
            lab = stack.enter_context(simulated_lab(folder, table.seed, table.settings, faults))
            stack.callback(self._forget_lab)
            self._lab = lab
            self._build(lab.addresses)
            yield lab

    def _forget_lab(self) -> None:
        self._lab = None
        self._build(None)

    def reserve(self) -> None:
        """Keep other runs from the instruments until this one has left the station.

        Called on entering, too; call it earlier to be refused before a run folder is made.

        Raises
        ------
        InstrumentError
            If another run uses one of the instruments; says which, and who.
        """
        self._lock.acquire()

    def release(self) -> None:
        """Let other runs use the instruments; idempotent. Leaving the station does it, too."""
        self._lock.release()

    def note_run(self, folder: Path) -> None:
        """Let those who are refused know which run holds the station."""
        self._lock.note(str(folder))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(signals_unwind())
            stack.callback(self._lock.release)
            self.reserve()
            stack.enter_context(self.simulated_lab())
            for device in (*self._links.values(), *(r.device for r in self._roles.values())):
                stack.callback(self._close, device)
                _open(device)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failures: list[str] = []
        names = {id(device): f"links.{name}" for name, device in self._links.items()}
        names |= {id(r.device): f"roles.{r.name}" for r in self._roles.values()}
        with self._open:
            try:
                if kind is None:
                    self._leave("on_success", failures)
                elif issubclass(kind, INTERRUPTS):
                    self._leave("on_interrupt", failures)
                else:
                    self._leave("on_error", failures)
            except INTERRUPTS:  # it arrived on the way out
                self._leave("on_interrupt", failures)
                if not failures:
                    raise
        if failures:
            text = "MAKE-SAFE FAILED, look at the instruments now: " + "; ".join(failures)
            if error is not None:
                text += f". The run had ended with {described(error)}"
            raise MakeSafeError(text) from error
        if error is not None and not isinstance(error, (*INTERRUPTS, QdcharError)):
            _blame_the_instrument(error, names)

    def _leave(self, occasion: str, failures: list[str]) -> None:
        """Leave the roles that were used as their policy says."""
        self._bring_to_safety(
            [r for r in self._roles.values() if r.in_use and getattr(r.table, occasion) != "hold"],
            failures,
        )

    def _bring_to_safety(self, roles: list[_Role], failures: list[str]) -> None:
        """Bring roles to safety; one that fails does not keep the others from it."""
        with signals_held():
            for role in roles:
                self._tell(f"bringing {role.name} to safety ...")
                try:
                    role.device.make_safe()
                    role.in_use = False
                except BaseException as error:  # signals are held: it comes from the driver
                    failures.append(_failure(role, error))

    def _close(self, device: Any) -> None:
        """Close an instrument; one that cannot be closed costs neither the others nor the run."""
        try:
            device.close()
        except INTERRUPTS:
            raise
        except BaseException as error:
            self._tell(f"{type(device).__name__} could not be closed: {described(error)}")

    def _tell(self, text: str) -> None:
        """Tell the operator, who may have closed the terminal: acting never depends on telling."""
        with suppress(Exception, SystemExit):  # rich exits where a pipe is broken
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
        done: list[str] = []
        failures: list[str] = []
        try:
            with signals_held():
                for role in self._roles.values():
                    if hasattr(role.device, "make_safe"):
                        self._open_and_make_safe(role, done, failures)
        finally:
            if failures:  # louder than a signal that was held
                raise MakeSafeError(
                    "MAKE-SAFE FAILED, look at these instruments now: "
                    + "; ".join(failures)
                    + f". Safe: {', '.join(done) or 'none'}"
                )
        return done

    @contextmanager
    def _opened(self, role: _Role) -> Iterator[None]:
        """Open one instrument alone, and the link that it needs; close both at the end."""
        with ExitStack() as stack:
            for device in (self._links.get(role.table.link or ""), role.device):
                if device is not None:
                    stack.callback(self._close, device)
                    _open(device)
            yield

    def _open_and_make_safe(self, role: _Role, done: list[str], failures: list[str]) -> None:
        self._tell(f"bringing {role.name} to safety ...")
        try:
            with self._opened(role):
                role.device.make_safe()
            done.append(role.name)
        except BaseException as error:  # signals are held: it comes from the driver
            failures.append(_failure(role, error))

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
            yield role.name, self._identity_and_state(role)

    def _identity_and_state(
        self, role: _Role
    ) -> tuple[Identity, Mapping[str, Reading]] | InstrumentError:
        try:
            with self._opened(role):
                return role.device.identify(), role.device.snapshot()
        except InstrumentError as error:
            return error
        except INTERRUPTS:
            raise
        except BaseException as error:  # a lab's own driver may raise anything
            return InstrumentError(described(error))

    def identities(self) -> dict[str, Identity]:
        """Ask every instrument who it is."""
        return {name: device.identify() for name, device in self.instruments()}

    def snapshot(self) -> dict[str, dict[str, Reading]]:
        """Read the state of every instrument from the device."""
        return {name: dict(device.snapshot()) for name, device in self.instruments()}

    def calibration(self, name: str) -> Estimate:
        """Return a certificate as an estimate; its error is one source, shared by its users.

        Where the station file has none and something can be assumed, that is returned; see
        `qdchar.certificates`.

        Raises
        ------
        UsageError
            If the station file has no such calibration.
        """
        return certificate_of(self.file, self.origin, name)

    def no_certificate(self, name: str) -> str:
        """Say why a certificate cannot be used; empty if it can."""
        return why_no_certificate(self.file, name)


def _blame_the_instrument(error: BaseException, names: Mapping[int, str]) -> None:
    """Raise what a lab's own driver raised as an instrument that failed."""
    for frame, _ in walk_tb(error.__traceback__):
        where = names.get(id(frame.f_locals.get("self")))
        if where is not None:
            raise InstrumentError(
                f"{where}: {frame.f_code.co_qualname} failed: {described(error)}"
            ) from error


def _failure(role: _Role, error: BaseException) -> str:
    text = str(error) if isinstance(error, QdcharError) else described(error)
    return f"{role.name} ({role.table.driver}): {text}"


def _open(device: Any) -> None:
    """Open an instrument; any error of a lab's own driver means that it cannot be reached."""
    try:
        device.open()
    except (*INTERRUPTS, QdcharError):
        raise
    except BaseException as error:
        raise InstrumentError(
            f"{type(device).__name__} cannot be opened: {described(error)}"
        ) from error


def load_station(file: PathLike, say: Callable[[str], None] = print) -> Station:
    """Read a station file and build its drivers; nothing is connected yet.

    Parameters
    ----------
    file
        The station file (TOML).
    say
        Told each instrument that is brought to safety; prints it by default.

    Raises
    ------
    UsageError
        Names the key that is wrong and says what is allowed.
    """
    file = Path(file)
    return Station(read_station_file(file), str(file), say)
