"""Lab time of the recipes that come with the package, and what they reach.

    python validation/recipes.py --seeds 1-3 --write

Calibrates simulated labs with each recipe. The table gives the mean over the seeds of the expected
and the needed lab time, and of the standard uncertainties; the pull is the difference from the
truth over u that is furthest from 0. Each run is a line of ``recipes.csv`` in the folder of draws,
which git ignores; what is in that file already is left out, so an interrupted study goes on where
it stopped. With ``--write`` the summary also replaces the table ``validation/recipes.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import raw_draws

from qdchar.lab.recipe import SHIPPED

QUANTITIES = {
    "mean_photon_number": "<n>",
    "g2_zero": "g2(0)",
    "transmitter_efficiency": "transmitter efficiency",
    "lifetime": "lifetime",
    "linewidth": "linewidth",
    "pi_power": "pi-pulse power",
}


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1-3", help="first-last")
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    file = options.draws / "recipes.csv"
    draws = raw_draws.read(file)
    known = set(zip(draws["recipe"], draws["seed"], strict=True)) if len(draws) else set()
    made_by = raw_draws.tree()
    for seed in seeds:
        for recipe in SHIPPED:
            if (recipe, seed) not in known:
                made = row(recipe, seed)
                print(made, flush=True)
                raw_draws.append(file, list(made), [list(made.values())], made_by)
    text = table(raw_draws.read(file))
    print(text)
    if options.write:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


def row(recipe: str, seed: int) -> dict[str, Any]:
    """Calibrate one simulated lab; relative uncertainties in percent."""
    asked = ["calibrate", "--seed", str(seed), "--recipe", recipe]
    with tempfile.TemporaryDirectory() as out:
        found = last_line(*asked, "--out", out)
    truth = last_line("twin", "--truth", "--seed", str(seed))["quantities"]
    quantities = found["quantities"]
    made = {
        "recipe": recipe,
        "seed": seed,
        "verdict": found["verdict"],
        "lab time [s]": found["lab_s"],
        "u of the key rate [%]": 100.0 * found["rate_per_pulse_u"] / found["rate_per_pulse"],
    }
    for name, words in QUANTITIES.items():
        value, u = quantities[name]["value"], quantities[name]["u"]
        made[f"u of {words} [%]"] = 100.0 * u / value
        made[f"pull of {words}"] = (value - truth[name]["value"]) / u
    return made


def last_line(*arguments: str) -> dict[str, Any]:
    """Return the line of JSON with which a command ends."""
    command = [sys.executable, "-m", "qdchar", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def table(rows: pd.DataFrame) -> str:
    """Write the summary as Markdown: a column for each recipe."""
    seeds = f"{rows['seed'].min()}-{rows['seed'].max()}"
    lines = [
        "# Recipes: lab time, and what they reach",
        "",
        f"Written by `python validation/recipes.py --seeds {seeds} --write`. "
        f"{raw_draws.origin(rows, ('recipe', 'seed'))}",
        "",
        f"| mean over the seeds {seeds} | {' | '.join(SHIPPED)} |",
        f"|---|{'---|' * len(SHIPPED)}",
    ]
    expected = [last_line("calibrate", "--recipe", r, "--dry-run")["lab_s"] for r in SHIPPED]
    lines.append(cells("expected lab time [s]", [f"{value:.1f}" for value in expected]))
    by_recipe = [rows[rows["recipe"] == recipe] for recipe in SHIPPED]
    lines.append(cells("GO", [f"{(r['verdict'] == 'GO').sum()} of {len(r)}" for r in by_recipe]))
    for name in rows.columns[3:-1]:
        if name.startswith("pull"):
            furthest = [r[name].loc[r[name].abs().idxmax()] for r in by_recipe]
            lines.append(cells(f"furthest {name}", [f"{value:+.1f}" for value in furthest]))
        else:
            lines.append(
                cells(
                    name,
                    [
                        f"{r[name].mean():#.2g}" if "%" in name else f"{r[name].mean():.1f}"
                        for r in by_recipe
                    ],
                )
            )
    return "\n".join(lines) + "\n"


def cells(name: str, values: list[str]) -> str:
    """Write a line of the table."""
    return f"| {name} | {' | '.join(values)} |"


if __name__ == "__main__":
    main()
