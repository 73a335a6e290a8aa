"""Analyse small files from elsewhere with ``qdchar fit``, each beside its right value.

    python validation/cases.py --data ../shared/data/cases --write
    python validation/cases.py --data ../shared/data/cases --only hole.txt

The files were made by samplers that share no code with qdchar; `CASES.md` beside them describes
each, and `CASES` below repeats the right value. One line a command: the exit code, the value with
its standard uncertainty, by how many of them it is off, and the first problem or error that was
reported. ``WRONG`` marks a value more than 3 standard uncertainties off with exit code 0, which
must not be. ``--write`` replaces the committed table ``validation/cases.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import raw_draws

TABLE = Path(__file__).with_suffix(".md")
ETALON = ("--narrow", "etalon_narrow.csv", "--fsr", "100e9", "0.2e9")


@dataclass(frozen=True)
class Case:
    """One command on one file.

    Attributes
    ----------
    command
        Arguments behind ``qdchar``; file names are relative to the folder of the data.
    quantity
        Code name of the quantity that is compared; empty if the right answer is no value.
    right
        Its right value, in SI units; None if the right answer is a refusal or a problem.
    known_to
        Standard uncertainty of the right value itself: of a nominal value for these few tags.
    """

    command: tuple[str, ...]
    quantity: str = ""
    right: float | None = None
    known_to: float = 0.0


def _fit(name: str, file: str, *options: str) -> tuple[str, ...]:
    return ("fit", name, file, *options)


CASES = (
    Case(_fit("hbt", "overlap.ptu"), "g2_zero", 0.010),
    Case(_fit("hbt", "overlap.txt"), "g2_zero", 0.010),
    Case(_fit("hbt", "hole.txt"), "g2_zero", 0.016),
    Case(_fit("hbt", "rep10MHz.ptu"), "g2_zero", 0.1227),
    Case(_fit("hbt", "rep1MHz.ptu"), "g2_zero", 0.1101),
    Case(_fit("hbt", "delay200ns.ptu"), "g2_zero", 0.0802),
    Case(_fit("hbt", "delay200ns.ptu", "--delay", "200e-9"), "g2_zero", 0.0802),
    Case(_fit("hbt", "crosstalk.ptu"), "g2_zero", 0.02),
    Case(_fit("hbt", "crosstalk.ptu", "--window", "1e-9"), "g2_zero", 0.02),
    Case(("info", "tcspc.hdf5")),
    Case(_fit("hbt", "tcspc.hdf5"), "g2_zero", 0.05),
    Case(_fit("lifetime", "tcspc.hdf5"), "lifetime", 0.9e-9),
    Case(_fit("lifetime", "background_decay.txt", "--response", "background_irf.txt")),
    Case(_fit("lifetime", "two_detectors.csv")),
    Case(_fit("lifetime", "two_detectors.csv", "--column", "decay"), "lifetime", 1.2e-9),
    Case(_fit("lifetime", "two_detectors.csv", "--column", "wrong_filter"), "lifetime", 2.4e-9),
    Case(_fit("lifetime", "three_columns.csv"), "lifetime", 1.2e-9),
    Case(_fit("lifetime", "hydraharp_export.dat"), "lifetime", 1.2e-9),
    Case(_fit("lifetime", "hydraharp_export.dat", "--curve", "0"), "lifetime", 1.2e-9),
    Case(_fit("hbt", "hydraharp_export.dat")),
    Case(_fit("lifetime", "cut_window.txt", "--period", "1e-7"), "lifetime", 9.0e-9),
    Case(_fit("lifetime", "bom_decay.csv"), "lifetime", 1.2e-9),
    Case(_fit("hbt", "bom_hbt.csv"), "g2_zero", 0.05),
    Case(_fit("rabi", "bom_rabi.csv"), "pi_power", 1e-6),
    Case(_fit("hbt", "semicolon_hbt.csv"), "g2_zero", 0.05),
    Case(_fit("hbt-cw", "cw_ns_nohdr.txt")),
    Case(_fit("hbt-cw", "cw_ns_nohdr.txt", "--unit", "ns"), "antibunching_time", 12e-9),
    Case(_fit("reflectivity", "reflectivity_two_modes.txt"), "cavity_quality_factor", 12636.0),
    Case(_fit("saturation", "saturation_zero_plus3pc.csv"), "saturation_power", 10e-9),
    Case(_fit("rabi", "rabi_renorm1pc.csv", "--gain", "1", "0.005"), "pi_power", 9.807e-9),
    # width of each line, 2.1 GHz Lorentz and 1.276 GHz Gauss; the two are 3 GHz apart
    Case(_fit("etalon", "etalon_doublet3GHz.csv", *ETALON), "linewidth", 2.73e9),
)


@dataclass(frozen=True)
class Outcome:
    """What one command gave."""

    case: Case
    exit_code: int
    value: float | None
    u: float | None
    said: str
    seconds: float

    @property
    def pull(self) -> float | None:
        """Deviation from the right value in standard uncertainties."""
        if self.value is None or not self.u or self.case.right is None:
            return None
        return (self.value - self.case.right) / (self.u**2 + self.case.known_to**2) ** 0.5

    @property
    def verdict(self) -> str:
        """Right, flagged, refused, CRASHED or WRONG."""
        if self.exit_code == 1:
            return "CRASHED"
        if self.exit_code == 11:
            return "flagged"
        if self.exit_code:
            return "refused"
        if not self.case.quantity:
            return "answered" if self.case.command[0] == "info" else "WRONG"
        pull = self.pull
        return "right" if pull is not None and abs(pull) <= 3.0 else "WRONG"


def run(case: Case, folder: Path) -> Outcome:
    """Run one command as a user would, in the folder of the data."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "qdchar", *case.command, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begin
    lines = done.stdout.splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        answer = {"error": (done.stderr.splitlines() or [""])[-1]}
    found = answer.get("quantities", {}).get(case.quantity, {})
    said = answer.get("error") or next(iter(answer.get("problems", [])), "")
    return Outcome(case, done.returncode, found.get("value"), found.get("u"), said, seconds)


def table(outcomes: list[Outcome]) -> str:
    """Set all outcomes in one Markdown table."""
    lines = [
        "| command | right | exit | value(u) | off by | verdict | said |",
        "|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        right = "a refusal or a problem" if o.case.right is None else f"{o.case.right:.4g}"
        if o.case.command[0] == "info":
            right = "its content"
        value = "" if o.value is None else f"{o.value:.4g}({o.u or 0.0:.2g})"
        pull = "" if o.pull is None else f"{o.pull:+.1f} u"
        said = o.said.replace("|", "/").replace("\n", " ")
        said = said if len(said) < 160 else f"{said[:157]}..."
        command = " ".join(o.case.command)
        lines.append(
            f"| `{command}` | {right} | {o.exit_code} | {value} | {pull} | {o.verdict} | {said} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all cases whose file is there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--only", action="append", help="file name; may be given several times")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write replaces the whole table: leave out --only")
    made_by = raw_draws.tree()
    outcomes = []
    for case in CASES:
        file = case.command[2] if case.command[0] == "fit" else case.command[1]
        if arguments.only and file not in arguments.only:
            continue
        if not (arguments.data / file).exists():
            print(f"{file}: not there, left out", file=sys.stderr)
            continue
        outcomes.append(run(case, arguments.data))
        print(table(outcomes[-1:]).splitlines()[-1], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if (arguments.data / "tcspc.hdf5").exists() and not arguments.only:
            target = str(Path(folder) / "out.h5")
            source = str((arguments.data / "tcspc.hdf5").resolve())
            done = run(Case(("convert", source, target)), arguments.data)
            print(f"convert tcspc.hdf5: exit code {done.exit_code}; {done.said}", file=sys.stderr)
    text = table(outcomes)
    wrong = sum(o.verdict == "WRONG" for o in outcomes)
    print(f"{len(outcomes)} commands, {wrong} wrong with exit code 0")
    if arguments.write:
        TABLE.write_text(
            "# Small files from elsewhere\n\n"
            f"Written by `python validation/cases.py --data DIR --write`. Tree: {made_by}.\n\n"
            f"{text}\n{len(outcomes)} commands, {wrong} wrong with exit code 0.\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
