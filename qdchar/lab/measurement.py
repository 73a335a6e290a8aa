"""What a measurement declares about itself, in one place.

Recipe tables, the names and the help of ``qdchar measure``, the order of a calibration and every
check before a start come from these declarations. A lab's own measurement is declared in the same
way, in a file beside its station file: see docs/add-a-measurement.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from qdchar.errors import UsageError
from qdchar.fit import Result
from qdchar.protocols.pump import READINGS
from qdchar.quantities import Quantity, define
from qdchar.raw_data import Progress, Settings

if TYPE_CHECKING:
    from .session import Session

S = TypeVar("S", bound=Settings)

Limits: TypeAlias = Callable[[str], tuple[float, float]]
"""Gives the limits of a role: of a piezo [V], of an attenuator [dB]."""

Range: TypeAlias = Callable[[S, tuple[float, float]], tuple[float, float]]
"""Gives the range that the settings ask for, from the settings and the limits of the role."""


COMMAND_S = 1e-3
"""Lab time that an instrument takes for one command, such as a power reading [s], about."""

MOVE_S = 5e-3
"""Lab time for going to a nearby voltage or attenuation and reading it back [s], about."""

ZERO_S = 2 * MOVE_S + READINGS * COMMAND_S
"""Lab time for reading the zero of the power meter [s], about."""

POWER_METER = (
    "power_meter_zero",
    "power_meter_linearity",
    "power_meter_gain_power",
    "power_tap",
)
"""Certificates, with defaults, that every scan over power and every setting of the pump uses."""


class NoSettings(Settings):
    """Settings of a measurement that has none."""


@dataclass(frozen=True, kw_only=True)
class Measurement(Generic[S]):
    """One measurement: what it is, what it needs, what it moves, what it finds.

    Attributes
    ----------
    name
        As in ``qdchar measure NAME``.
    title
        What a person reads while it runs and in the report.
    run
        Measures and analyses: takes session, settings and progress, returns the result.
    settings
        Class of its settings; the recipe's table `table` fills it.
    table
        Name of its table in the recipe; its own name where not given.
    provides
        Quantities that it finds: names of `qdchar.quantities`, or a lab's own definitions.
    needs
        Quantities that it must know before it starts. A measurement that provides a missing one
        is made first.
    needs_afterwards
        Quantities that only its analysis needs, measured between its own scans and its analysis
        because they need the light that it finds.
    same_run
        Measurements whose raw data it analyses again: they must be part of the same run.
    roles
        Instruments that it uses, as in the station file.
    certificates
        Certificates (``[calibrations.NAME]``) that its results rest on.
    optional_certificates
        Certificates that it uses where the station has them; a name that ends with an underscore
        stands for all that begin with it.
    at_pi_pulse
        Whether the pump must be at the pi pulse. The session sets it before, if it is not.
    sets_pump
        Whether it leaves the pump at another power than it found.
    calibration
        "always": every calibration makes it; "if possible": where the station has the instruments
        and certificates; "on request": only `measure` makes it.
    used_by_key_rate
        Whether a key rate rests on it. If it does not, a source too faint for it is no problem.
    take_over_hours
        Age up to which a later calibration may take its quantities over instead of measuring [h];
        a recipe may change it, and 0 means that only a recipe may allow it. None: never, because
        it tunes an instrument, or because its recording is analysed again.
    ranges
        Role to the function that gives the range in which it will move that role.
    dwell_s
        Lab time that the settings ask for, without moves and re-locks [s].
    moves_s
        Lab time for its moves and power readings, about [s]; slews and re-locks left out.
    sweeps
        How often it goes through its ranges, up and back.
    relocks
        Number of its peak locks.
    tags_s
        Time for which it records time tags [s]; None if it records none.
    """

    name: str
    title: str
    run: Callable[[Session, S, Progress], Result]
    provides: tuple[str | Quantity, ...]
    settings: type[S]
    table: str = ""
    needs: tuple[str, ...] = ()
    needs_afterwards: tuple[str, ...] = ()
    same_run: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    optional_certificates: tuple[str, ...] = ()
    at_pi_pulse: bool = False
    sets_pump: bool = False
    calibration: Literal["always", "if possible", "on request"] = "always"
    used_by_key_rate: bool = True
    take_over_hours: float | None = None
    ranges: Mapping[str, Range[S]] = field(default_factory=dict)
    dwell_s: Callable[[S, Limits], float] = lambda _settings, _limits: 0.0
    moves_s: Callable[[S, Limits], float] = lambda _settings, _limits: 0.0
    sweeps: int = 1
    relocks: Callable[[S, Limits], int] = lambda _settings, _limits: 0
    tags_s: Callable[[S], float] | None = None

    def __post_init__(self) -> None:
        for quantity in self.provides:
            if isinstance(quantity, Quantity):
                define(quantity)
        if not self.table:
            object.__setattr__(self, "table", self.name)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities that it provides."""
        return tuple(q.name if isinstance(q, Quantity) else q for q in self.provides)

    @property
    def all_needs(self) -> tuple[str, ...]:
        """Quantities that it needs at any time, the pi power included if the pump must be there."""
        pi = ("pi_power",) if self.at_pi_pulse else ()
        return tuple(dict.fromkeys((*self.needs, *pi, *self.needs_afterwards)))

    @property
    def all_certificates(self) -> tuple[str, ...]:
        """Certificates that it needs at any time: setting the pump by its monitor needs a gain."""
        pi = ("power_meter_gain",) if self.at_pi_pulse else ()
        return tuple(dict.fromkeys((*self.certificates, *pi)))

    @property
    def all_optional_certificates(self) -> tuple[str, ...]:
        """Certificates that it uses where the station has them: setting the pump has some, too."""
        pi = POWER_METER if self.at_pi_pulse else ()
        return tuple(dict.fromkeys((*self.optional_certificates, *pi)))

    @property
    def all_roles(self) -> tuple[str, ...]:
        """Roles that it needs at any time."""
        pi = ("pump_attenuator", "pump_power") if self.at_pi_pulse else ()
        return tuple(dict.fromkeys((*self.roles, *pi)))

    def takes_certificate(self, name: str) -> bool:
        """Whether it uses a certificate of this name."""
        return name in self.all_certificates or any(
            name == c or (c.endswith("_") and name.startswith(c))
            for c in self.all_optional_certificates
        )


Registry: TypeAlias = Mapping[str, Measurement[Any]]
"""Measurements by name, in the order of a calibration."""


def measurements_by_name(measurements: Iterable[Measurement[Any]]) -> Registry:
    """Put measurements together by name.

    Raises
    ------
    UsageError
        If two have one name.
    """
    found: dict[str, Measurement[Any]] = {}
    for measurement in measurements:
        if measurement.name in found:
            raise UsageError(f"two measurements are called {measurement.name!r}; rename one")
        found[measurement.name] = measurement
    return found


def provider(known: Registry, quantity: str) -> str:
    """Return the name of the measurement that provides a quantity: the first one in order.

    Raises
    ------
    UsageError
        If none does.
    """
    for measurement in known.values():
        if quantity in measurement.quantities:
            return measurement.name
    raise UsageError(f"no measurement provides {quantity!r}: {', '.join(known)} are known")
