"""End a measurement in every way, and read from the wires what it leaves.

    python validation/ways_out.py --write

A measurement sweeps the cavity's piezo of a simulated lab. When it has passed 20 V the measurement
is ended, once with the policy ``hold`` for what is expected to happen and once with
``ramp_ground``; for everything else the opposite policy stands. Exit code, voltage and shutter are
printed cell by cell. The cells are those of ``tests/lab/ways_out.py``. On a loaded machine an
instrument may not answer in time before the measurement is ended; such a cell is tried again, and
the table says why. With ``--write`` it replaces the committed ``validation/ways_out.md``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import raw_draws

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.lab.ways_out import (
    POLICIES,
    WAYS,
    Left,
    WayOut,
    leave,
    simulated_station,
    wrong_with,
)

TRIES = 3
"""How often a cell is begun whose measurement ended before it was to be ended."""


def _cell(lab: str, folder: Path, way: WayOut, policy: str) -> tuple[Left, list[str]]:
    """Try one cell; returns what it left, and why it was begun more than once."""
    again: list[str] = []
    for attempt in range(1, TRIES + 1):
        out = folder / str(attempt)
        out.mkdir(parents=True)
        left = leave(lab, out, way, policy)
        if not left.too_early:
            break
        again.append(f"{way.name}, {policy}: {wrong_with(left, way, policy)[0]}")
    return left, again


def _row(name: str, policy: str, left: Left, faults: list[str]) -> str:
    shutter = "open" if left.shutter_open else "closed"
    verdict = "as it must be" if not faults else "**" + "; ".join(faults)[:200] + "**"
    verdict = verdict.replace("|", "/").replace("\n", " ")
    return f"| {name} | {policy} | {left.code} | {left.voltage_V:.3f} | {shutter} | {verdict} |"


def main() -> int:
    """Run all cells; returns 1 if one of them is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="ways whose name contains this")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write replaces the whole table: leave out --only")
    made_by = raw_draws.tree()
    rows, again, wrong = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lab").mkdir()
        with simulated_station(Path(folder) / "lab") as lab:
            for number, way in enumerate(w for w in WAYS if options.only in w.name):
                for policy in POLICIES:
                    left, tried = _cell(lab, Path(folder) / f"{number}_{policy}", way, policy)
                    again += tried
                    faults = wrong_with(left, way, policy)
                    wrong += bool(faults)
                    rows.append(_row(way.name, policy, left, faults))
                    print(*(f"begun again: {t}" for t in tried), rows[-1], sep="\n", flush=True)
    text = "\n".join(
        [
            "# What every way out of a measurement leaves",
            "",
            "Written by `python validation/ways_out.py --write`. "
            f"Tree: {made_by}. The policy stands for what happens; the opposite one for "
            "everything else. With `hold` the piezo stays where the sweep or the lock left it and "
            "the shutter is open; with `ramp_ground` it is at 0 V and the shutter closed. Where "
            "the link is dead nobody can move the piezo: exit code 22, and the message names it.",
            "",
            f"{len(rows)} cells, **{wrong} not as they must be**. Begun again, because the "
            f"measurement had ended before it was to be ended: {len(again)}.",
            *(f"- {text}" for text in again),
            "",
            "| way out | policy | exit | piezo (V) | shutter | |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    if options.write:
        (raw_draws.HERE / "ways_out.md").write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
