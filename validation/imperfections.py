"""Calibrate simulated labs with one imperfection alone, as large as certified and three times so.

    python validation/imperfections.py --seeds 1-20 --write
    python validation/imperfections.py --names path_loss,switching --seeds 1-5

At the size of its certificate a lab must end in GO; at three times it, each quantity must be within
four standard uncertainties, or a problem must name the cause. Each line of ``imperfections.csv`` in
the folder of draws, which git ignores, is one run; what is there already is left out. The summary
is printed; with ``--write`` it also replaces the committed table ``validation/imperfections.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import raw_draws
from faults import HEADER, LIMIT_u, run_one

from qdchar.drivers.twin.imperfections import NAMES, ideal_settings
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import load_recipe

SIZES = (1, 3)
COLUMNS = ("name", "size", *HEADER[2:])


def summary(draws: pd.DataFrame) -> str:
    """Make the table: one line an imperfection and size."""
    lines = [
        "# One imperfection alone",
        "",
        "Written by `python validation/imperfections.py --write`. "
        f"{raw_draws.origin(draws, COLUMNS[:3])} "
        "Simulated labs that have one imperfection, once and three times as large as the station's "
        "certificate says, on the recipe `quick`. Worst: the quantity furthest from the truth of "
        f"those that end in GO. Wrong: GO with a quantity beyond {LIMIT_u:g} u.",
        "",
        "| imperfection | times its certificate | runs | GO | wrong | worst | u | else |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, size), runs in draws.groupby(["name", "size"], sort=False):
        go = runs[runs["verdict"] == "GO"]
        wrong = int((go["pull"].abs() > LIMIT_u).sum())
        worst = go.loc[go["pull"].abs().idxmax()] if len(go) else None
        figures = "| |" if worst is None else f"{worst['worst']} | {worst['pull']:+.1f} |"
        others = runs[runs["verdict"] != "GO"]
        text = str(others.iloc[0]["problems"]).replace("|", "/") if len(others) else ""
        short = text if len(text) <= 160 else text[:157] + "..."
        lines.append(f"| {name} | {size} | {len(runs)} | {len(go)} | {wrong} | {figures} {short} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the study and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", default=",".join(NAMES), help="separated by commas")
    parser.add_argument("--seeds", default="1-20", help="first-last")
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    recipe, made_by = load_recipe("quick", MEASUREMENTS), raw_draws.tree()
    file = options.draws / "imperfections.csv"
    draws = raw_draws.read(file)
    known = set(zip(*(draws[c] for c in COLUMNS[:3]), strict=True)) if len(draws) else set()
    for seed in range(int(first), int(last or first) + 1):
        for name in options.names.split(","):
            for size in SIZES:
                if (name, size, seed) in known:
                    continue
                one = f"imperfections.{name}={size}"
                settings = [one, *ideal_settings([one])]
                with tempfile.TemporaryDirectory() as folder:
                    row = run_one("", "all", seed, recipe, Path(folder), settings)
                raw_draws.append(file, COLUMNS, [(name, size, *row[2:])], made_by)
                print(name, size, *row[2:], sep=" | ", flush=True)
    text = summary(raw_draws.read(file))
    print(text)
    if options.write:
        (raw_draws.HERE / "imperfections.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
