"""The recipe: what a calibration does and what it demands, from a TOML file or by default."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from qdchar.errors import UsageError
from qdchar.protocols.brightness import BrightnessSettings
from qdchar.protocols.cavity import CavitySettings
from qdchar.protocols.dark import DarkSettings
from qdchar.protocols.dead_time import DeadTimeSettings
from qdchar.protocols.detector_efficiency import DetectorEfficiencySettings
from qdchar.protocols.etalon import EtalonSettings
from qdchar.protocols.hbt import HbtSettings
from qdchar.protocols.hom import HomSettings
from qdchar.protocols.leak import LeakSettings
from qdchar.protocols.lifetime import LifetimeSettings
from qdchar.protocols.misalignment import MisalignmentSettings
from qdchar.protocols.phase import PhaseSettings
from qdchar.protocols.purcell import PurcellSettings
from qdchar.protocols.rabi import RabiSettings
from qdchar.protocols.saturation import SaturationSettings
from qdchar.protocols.transmitter import TransmitterSettings
from qdchar.quantities import is_known
from qdchar.raw_data import Settings
from qdchar.record import explain


class Bound(Settings):
    """What a figure must keep to for a GO."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Recipe(Settings):
    """Settings of every protocol, the key-rate protocol, and the limits of the verdict.

    Attributes
    ----------
    limits
        Quantity name to bound; a figure beyond its bound is a NO-GO.
    min_rate_per_pulse
        Least key rate for a GO: it must be exceeded by two standard uncertainties.
    min_advantage_dB
        Comparator to the least advantage over it for a GO [dB].
    valid_hours
        How long the record may be used.
    """

    dark: DarkSettings = DarkSettings()
    cavity: CavitySettings = CavitySettings()
    dead_time: DeadTimeSettings = DeadTimeSettings()
    rabi: RabiSettings = RabiSettings()
    saturation: SaturationSettings = SaturationSettings()
    etalon: EtalonSettings = EtalonSettings()
    brightness: BrightnessSettings = BrightnessSettings()
    hbt: HbtSettings = HbtSettings()
    lifetime: LifetimeSettings = LifetimeSettings()
    transmitter: TransmitterSettings = TransmitterSettings()
    detector_efficiency: DetectorEfficiencySettings = DetectorEfficiencySettings()
    misalignment: MisalignmentSettings = MisalignmentSettings()
    phase: PhaseSettings = PhaseSettings()
    hom: HomSettings = HomSettings()
    purcell: PurcellSettings = PurcellSettings()
    leak: LeakSettings = LeakSettings()
    protocol: Literal["efficient-bb84", "three-state"] = "efficient-bb84"
    accounting: Literal["alice", "joint"] = "alice"
    limits: dict[str, Bound] = Field(default_factory=dict)
    min_rate_per_pulse: float = Field(0.0, ge=0)
    min_advantage_dB: dict[str, float] = Field(default_factory=dict)
    valid_hours: float = Field(24.0, gt=0)

    @field_validator("limits")
    @classmethod
    def _limits_are_on_quantities(cls, limits: dict[str, Bound]) -> dict[str, Bound]:
        unknown = [name for name in limits if not is_known(name)]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not a known quantity")
        return limits


def load_recipe(file: Path | None) -> Recipe:
    """Read a recipe; without a file, the default one.

    Raises
    ------
    UsageError
        Names the key that is wrong and says why.
    """
    if file is None:
        return Recipe()
    try:
        return Recipe.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from None
