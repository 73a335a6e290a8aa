"""What a run knew when it analysed one of its raw files, to analyse that file again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from qdchar.certificates import ASSUMED
from qdchar.errors import RecordError, UsageError
from qdchar.estimate import Estimate
from qdchar.files import is_there

from .knowledge import Knowledge
from .run import Step, read_step
from .station_file import StationFile, certificate_of, read_station_file

_DEEPEST = 4
"""Folders above a raw file up to which a run folder is looked for: ``raw/resumed_1/again_x``."""


def run_folder_of(file: Path) -> Path | None:
    """Return the run folder in whose ``raw`` a file lies; None if there is none."""
    for folder in file.absolute().parents[1 : 1 + _DEEPEST]:
        if (folder / "raw") in file.absolute().parents and is_there(folder / "results"):
            return folder if is_there(folder / "station.toml") else None
    return None


def _short(path: Path) -> str:
    """Return a path as text: from the working folder, where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return str(path)
    return min(relative, str(path), key=len)


class RunInputs(Knowledge):
    """Quantities that a run knew when it analysed a file, and its certificates.

    Parameters
    ----------
    folder
        The run folder.
    file
        One of its raw files: what was found after its analysis is not used. All that was found is
        used for a file that no result rests on.
    given
        Quantities and certificates that take the place of the run's, by name.
    dead_pulses
        Takes the place of what follows from the run's dead time; None for none.

    Attributes
    ----------
    step
        The result that rests on the file; None if there is none.
    used
        Where each quantity and certificate that was asked for is from, in words, by name.
    """

    def __init__(
        self,
        folder: Path,
        file: Path,
        given: Mapping[str, Estimate] | None = None,
        dead_pulses: float | None = None,
    ) -> None:
        self.folder = folder
        self.step: Step | None = None
        self.used: dict[str, tuple[Estimate, str]] = {}
        self._of_step = folder
        self._given = dict(given or {})
        self._dead_pulses = dead_pulses
        self._found: dict[str, tuple[Estimate, str]] = {}
        name = file.absolute().relative_to(folder.absolute()).as_posix()
        for result in sorted((folder / "results").glob("*.json")):
            step = read_step(result)
            # a measurement lists the raw files of those that it made on its way, too
            if name in step.raw and (self.step is None or len(step.raw) < len(self.step.raw)):
                self.step, self._of_step = step, result
                known_then = dict(self._found)
            for e in step.result.estimates:
                self._found[e.name] = e, f"from {_short(result)}"
        if self.step is not None:
            self._found = known_then

    @cached_property
    def station(self) -> StationFile:
        """The station file that the run kept."""
        return read_station_file(self.folder / "station.toml")

    @property
    def nominal_clock_Hz(self) -> float:
        """Pulse rate as the station file says [1/s]."""
        return self.station.nominal_clock_Hz

    @property
    def wavelength_m(self) -> float:
        """Wavelength of the source in vacuum [m]."""
        return self.station.wavelength_m

    def maybe(self, quantity: str) -> Estimate | None:
        """Return a quantity that the run had found by then, or that was given."""
        if quantity in self._given:
            return self._note(self._given[quantity], "given on the command line")
        if quantity not in self._found:
            return None
        return self._note(*self._found[quantity])

    def known(self, quantity: str) -> Estimate:
        """Return a quantity that the run had found by then.

        Raises
        ------
        UsageError
            If it had not.
        """
        estimate = self.maybe(quantity)
        if estimate is None:
            raise UsageError(
                f"{self.folder}: holds no {quantity} from before this file was analysed; copy the "
                "file elsewhere and give it as an option"
            )
        return estimate

    def certificate(self, name: str) -> Estimate:
        """Return a certificate of the run's station, or what was assumed for it."""
        if name in self._given:
            return self._note(self._given[name], "given on the command line")
        estimate = certificate_of(self.station, str(self.folder / "station.toml"), name)
        missing = name not in self.station.calibrations and name in ASSUMED
        place = "assumed, as it is not in" if missing else "from"
        return self._note(estimate, f"{place} {_short(self.folder / 'station.toml')}")

    def dead_pulses(self, *, of_source: bool = True) -> float:
        """Pulses for which a detector is dead after a click."""
        if self._dead_pulses is not None:
            return self._dead_pulses
        return super().dead_pulses(of_source=of_source)

    def input(self, name: str) -> Estimate | None:
        """Return what the analysis was given that no raw file holds; None if it was not kept."""
        for e in () if self.step is None else self.step.inputs:
            if e.name == name:
                return self._note(e, f"from the re-locks kept in {_short(self._of_step)}")
        return None

    def beside(self, file: Path, name: str) -> Path:
        """Return another raw file of the same measurement.

        Raises
        ------
        RecordError
            If it is missing.
        """
        other = file.with_name(name)
        if not is_there(other):
            raise RecordError(f"{other} is missing; the run analysed it together with {file.name}")
        return other

    def _note(self, estimate: Estimate, place: str) -> Estimate:
        self.used[estimate.name] = estimate, place
        return estimate
