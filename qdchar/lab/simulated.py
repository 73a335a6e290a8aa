"""The simulated lab as a program of its own, seen through its sockets only."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from qdchar.errors import InstrumentError, RecordError, UsageError
from qdchar.files import PathLike, read_json, write_text, writing

_STOPS_WITHIN_S = 5.0
_STATE_FILE = "simulated_lab.json"


@dataclass(frozen=True)
class LabState:
    """What a simulated lab must know to be started again as the same lab.

    Attributes
    ----------
    starts
        How often it has been started.
    lab_s
        Time in the lab when this was written [s].
    written
        When this was written [s since 1970].
    begun
        Faults that have begun.
    """

    starts: int = 0
    lab_s: float = 0.0
    written: float = 0.0
    begun: tuple[str, ...] = ()

    def clock_s(self, now: float) -> float:
        """Return the time in the lab now [s]: between its starts it passes as outside."""
        return self.lab_s + max(0.0, now - self.written) if self.starts else 0.0

    def write(self, folder: Path) -> None:
        """Write it to a run folder."""
        write_text(folder / _STATE_FILE, json.dumps(asdict(self)) + "\n")


def read_lab_state(folder: Path) -> LabState:
    """Read it from a run folder; that of a lab that was never started where there is none."""
    if not (folder / _STATE_FILE).exists():
        return LabState()
    try:
        data = read_json(folder / _STATE_FILE)
        return LabState(
            int(data["starts"]),
            float(data["lab_s"]),
            float(data["written"]),
            tuple(map(str, data["begun"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{folder / _STATE_FILE}: damaged: {error!r}") from None


@dataclass
class SimulatedLab:
    """A simulated lab that runs.

    Attributes
    ----------
    folder
        Where its state is kept.
    addresses
        Name of an instrument, as in ``address = "simulated:NAME"`` of a station file, to the
        address at which it listens.
    station_text
        Text of a station file for it, with the addresses at which it listens.
    process
        Its program, which reads from its standard input what begins, and answers each line.
    state
        What a lab that is started again must know, as it is in the run folder.
    """

    folder: Path
    addresses: Mapping[str, str]
    station_text: str
    process: subprocess.Popen[str]
    state: LabState

    def begin_measurement(self, name: str) -> list[str]:
        """Tell the lab which measurement begins; returns the names of the faults that then begin.

        Raises
        ------
        InstrumentError
            If the lab has ended.
        """
        answer = self._ask(f"measurement {name}", f"the measurement {name!r}")
        faults = [str(fault) for fault in answer["faults"]]
        self.state = replace(
            self.state,
            lab_s=float(answer["lab_s"]),
            written=time.time(),
            begun=tuple(dict.fromkeys((*self.state.begun, *faults))),
        )
        self.state.write(self.folder)
        return faults

    def lab_s(self) -> float:
        """Return the time that has passed in the lab since it was started for the first time [s].

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
    folder: PathLike, seed: int = 1, settings: Sequence[str] = (), faults: Sequence[str] = ()
) -> Iterator[SimulatedLab]:
    """Start the simulated lab and stop it on the way out.

    Parameters
    ----------
    folder
        Where its state is kept. If a lab ran there before, it is started again: its instruments
        and what has drifted are the same, its outputs are at zero, and its noise is drawn anew.
    seed
        Everything random follows from it, and from how often the lab was started.
    settings
        ``KEY=VALUE`` of its true parameters.
    faults
        ``NAME`` or ``NAME@MEASUREMENT`` of what breaks in it; `qdchar twin --fault list` prints
        them.

    Yields
    ------
    SimulatedLab
        With the addresses of its instruments.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "qdchar", "twin", "--json", "--until-stdin-closes"]
    command += ["--port", "0", "--seed", str(seed)]
    for setting in settings:
        command += ["--set", setting]
    before = read_lab_state(folder)
    for fault in faults:
        name = fault.partition("@")[0]
        command += ["--fault", name if name in before.begun else fault]
    now = time.time()
    command += ["--restarts", str(before.starts), "--clock", str(before.clock_s(now))]
    state = replace(before, starts=before.starts + 1, lab_s=before.clock_s(now), written=now)
    state.write(folder)
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
            answer = json.loads(line or "{}")
            if "ports" not in answer:
                _, complaint = process.communicate()
                text = complaint.strip().removeprefix("qdchar: ")
                error = (
                    UsageError if process.returncode == UsageError.exit_code else InstrumentError
                )
                raise error(f"the simulated lab did not start: {text}")
            addresses = {name: f"tcp://127.0.0.1:{k}" for name, k in answer["ports"].items()}
            yield SimulatedLab(folder, addresses, answer["station"], process, state)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
