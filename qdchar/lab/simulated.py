"""The simulated lab as a program of its own, seen through its sockets only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qdchar.errors import InstrumentError, UsageError

_STOPS_WITHIN_S = 5.0


@dataclass(frozen=True)
class SimulatedLab:
    """A simulated lab that runs.

    Attributes
    ----------
    station
        Its station file.
    process
        Its program, which reads from its standard input what begins, and answers each line.
    """

    station: Path
    process: subprocess.Popen[str]

    def begin_measurement(self, name: str) -> list[str]:
        """Tell the lab which measurement begins; returns the names of the faults that then begin.

        Raises
        ------
        InstrumentError
            If the lab has ended.
        """
        answer = self._ask(f"measurement {name}", f"the measurement {name!r}")
        return [str(fault) for fault in answer["faults"]]

    def lab_s(self) -> float:
        """Return the time that has passed in the lab since its start [s].

        Commands, moves, waits and counting are charged as in a real lab; computing is not.

        Raises
        ------
        InstrumentError
            If the lab has ended.
        """
        return float(self._ask("time", "it could tell its time")["lab_s"])

    def _ask(self, line: str, before: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            raise InstrumentError(f"the simulated lab has ended before {before}") from None
        return cast(dict[str, Any], answer)


@contextmanager
def simulated_lab(
    folder: Path, seed: int, settings: Sequence[str] = (), faults: Sequence[str] = ()
) -> Iterator[SimulatedLab]:
    """Start the simulated lab and stop it on the way out.

    Parameters
    ----------
    folder
        Where its station file is written, as ``station.toml``.
    seed
        Everything random follows from it.
    settings
        ``KEY=VALUE`` of its true parameters.
    faults
        ``NAME`` or ``NAME@MEASUREMENT`` of what breaks in it; `qdchar twin --fault list` prints
        them.

    Yields
    ------
    SimulatedLab
        With the station file.
    """
    station = folder / "station.toml"
    command = [sys.executable, "-m", "qdchar", "twin", "--json", "--until-stdin-closes"]
    command += ["--port", "0", "--seed", str(seed), "--station", str(station)]
    for setting in settings:
        command += ["--set", setting]
    for fault in faults:
        command += ["--fault", fault]
    # In a session of its own: Ctrl-C is for the calibration, which then brings the lab to safety.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:  # closes its pipes
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line or "error" in json.loads(line):
                _, complaint = process.communicate()
                text = complaint.strip().removeprefix("qdchar: ")
                error = (
                    UsageError if process.returncode == UsageError.exit_code else InstrumentError
                )
                raise error(f"the simulated lab did not start: {text}")
            yield SimulatedLab(station, process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
