"""The recipe: what a calibration does and what it demands, from a TOML file or by default.

Three recipes come with the package, in ``qdchar/lab/recipes``: ``quick``, ``pre-qkd`` and ``full``.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from qdchar.errors import UsageError
from qdchar.files import is_there, read_toml_or_json
from qdchar.raw_data import Settings
from qdchar.record import explain

from .measurement import Measurement, Registry

S = TypeVar("S", bound=Settings)

SHIPPED = ("quick", "pre-qkd", "full")
"""Names of the recipes that come with the package, the shortest first."""


class QuantityLimits(Settings):
    """Lowest and highest value of a quantity for a GO, in its SI unit."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> QuantityLimits:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Recipe(Settings):
    """Settings of the measurements, the key-rate protocol, and the limits of the verdict.

    Attributes
    ----------
    protocol
        Protocol of the key rate on which the verdict rests: "efficient-bb84" or "three-state".
    accounting
        Which multi-photon pulses are given up: "alice", all that Alice prepares in a basis;
        "joint", those that Bob also detects in it.
    limits
        Quantity name to its limits; a quantity beyond its limits is a NO-GO.
    min_rate_per_pulse
        Least key rate for a GO: it must be exceeded by two standard uncertainties.
    min_advantage_dB
        Comparator to the least advantage over it for a GO [dB].
    leave_out
        Measurements of a calibration that are not made. None may be among them that another
        measurement or the key rate needs.
    valid_hours
        How long the record may be used.
    max_brightness_change
        Largest relative change of the brightness between quantities that are taken over and those
        that are measured, for ``calibrate --resume`` and ``--take-over``.
    take_over_hours
        Measurement to the age up to which ``calibrate --take-over`` takes its quantities over [h],
        in place of what its declaration says; 0 for never.
    tag_rate_Hz
        Highest rate of time tags that is expected, all channels together [1/s]: before a start
        the disk must have room for the tags to come.
    tables
        Settings by table, as given: ``[cavity]``, ``[rabi]``, ... What is not given keeps its
        default.
    """

    protocol: Literal["efficient-bb84", "three-state"] = "efficient-bb84"
    accounting: Literal["alice", "joint"] = "alice"
    limits: dict[str, QuantityLimits] = Field(default_factory=dict)
    min_rate_per_pulse: float = Field(0.0, ge=0)
    min_advantage_dB: dict[str, float] = Field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    valid_hours: float = Field(24.0, gt=0)
    max_brightness_change: float = Field(0.05, gt=0)
    take_over_hours: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    tag_rate_Hz: float = Field(2e7, gt=0)
    tables: dict[str, dict[str, Any]] = Field(default_factory=dict)
    _origin: str = PrivateAttr("recipe")

    @model_validator(mode="before")
    @classmethod
    def _gather_tables(cls, data: Any) -> Any:
        """Collect the tables of the measurements, which stand beside the other keys."""
        if not isinstance(data, dict):
            return data
        tables = {
            key: value
            for key, value in data.items()
            if key not in cls.model_fields and isinstance(value, dict)
        }
        rest = {key: value for key, value in data.items() if key not in tables}
        given = rest.get("tables", {})
        if not tables or not isinstance(given, dict):
            return data
        return {**rest, "tables": {**given, **tables}}

    @property
    def origin(self) -> str:
        """Where it was read from, for messages."""
        return self._origin

    def table(self, name: str, kind: type[S]) -> S:
        """Return the settings of one table."""
        return kind.model_validate(self.tables.get(name, {}))

    def settings_of(self, measurement: Measurement[S]) -> S:
        """Return the settings of a measurement."""
        return self.table(measurement.table, measurement.settings)

    def complete(self, registry: Registry) -> Recipe:
        """Return the same recipe with every setting of every measurement spelled out."""
        tables = {
            m.table: self.settings_of(m).model_dump(mode="json", exclude_none=True)
            for m in registry.values()
        }
        return self.model_copy(update={"tables": tables})


def load_recipe(name: str | Path | None, registry: Registry) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name
        One of `SHIPPED`, a TOML file, or the ``recipe.json`` of a run; a file of a shipped name in
        the working folder is reached as ``./quick``. Where not given, the default recipe, which
        does what ``full`` does.
    registry
        The measurements that it may name.

    Raises
    ------
    UsageError
        Names every key that is wrong and says why.
    """
    if name is None:
        return Recipe()
    if name in SHIPPED:
        with resources.as_file(resources.files(__package__) / "recipes" / f"{name}.toml") as file:
            return _read(file, registry)
    file = Path(name)
    if not is_there(file) and not file.suffix:
        raise UsageError(
            f"--recipe {name}: neither a file nor one of the recipes that come with qdchar: "
            f"{', '.join(SHIPPED)}"
        )
    recipe = _read(file, registry)
    recipe._origin = str(file)
    return recipe


def _read(file: Path, registry: Registry) -> Recipe:
    try:
        recipe = Recipe.model_validate(read_toml_or_json(file))
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from None
    known = {m.table: m for m in registry.values()}
    faults = [
        f"[{name}] is not a table of a recipe; tables are {', '.join(known)}"
        for name in recipe.tables
        if name not in known
    ]
    faults += [
        f"leave_out: {name!r} is not a measurement; they are {', '.join(registry)}"
        for name in recipe.leave_out
        if name not in registry
    ]
    faults += [
        f"take_over_hours: {name!r} cannot be taken over; {', '.join(may)} can"
        for may in [[m.name for m in registry.values() if m.take_over_hours is not None]]
        for name in recipe.take_over_hours
        if name not in may
    ]
    for name, table in recipe.tables.items():
        if name in known:
            try:
                known[name].settings.model_validate(table)
            except ValidationError as error:
                faults.append(explain(error, name))
    if faults:
        raise UsageError(f"{file}: {'; '.join(faults)}")
    return recipe
