"""Calibrate the simulated lab over and over, and compare every quantity with the truth.

    python validation/calibrate_pulls.py default --seeds 1-20 --write
    python validation/calibrate_pulls.py other --seeds 1-10 --write

Each line of ``calibrate_LAB.csv`` in the folder of draws, which git ignores, is one quantity of one
run. Seeds that are in that file already are left out, so an interrupted study goes on where it
stopped. The summary is printed; with ``--write`` it also replaces the committed table
``validation/calibrate_LAB.md``. The simulated lab and the calibration are separate programs; the
truth comes from `qdchar twin --truth`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import raw_draws

LABS: Mapping[str, Sequence[str]] = {
    "default": (),
    "other": (
        "source.lifetime=60e-12",
        "source.g2=0.05",
        "source.collection_efficiency=0.45",
        "source.pi_power=25e-9",
        "cavity.resonance_V=22.5",
    ),
}
"""True parameters of the simulated labs, as ``--set`` takes them."""

REQUIRED = (
    "collection_efficiency",
    "mean_photon_number",
    "g2_zero",
    "g2_zero_source",
    "lifetime",
    "linewidth",
    "pi_power",
    "transmitter_efficiency",
)
NO_SINGLE_TRUTH = ("cavity_resonance_voltage", "phase_visibility")
"""Every order of the cavity will do; the phase visibility is an amplitude, true at its bound 0."""

HEADER = ("seed", "quantity", "truth", "value", "u", "pull", "exit_code", "seconds")


def _qdchar(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "qdchar", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return done.returncode, json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise SystemExit(f"qdchar {' '.join(arguments)} gave no JSON:\n{done.stderr}") from None


def _run(seed: int, settings: Sequence[str]) -> list[tuple[object, ...]]:
    given = [word for s in settings for word in ("--set", s)]
    _, true = _qdchar("twin", "--truth", "--seed", str(seed), *given)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        code, line = _qdchar("calibrate", "--seed", str(seed), "--out", folder, *given)
    seconds = time.monotonic() - began
    if "quantities" not in line:
        raise SystemExit(f"seed {seed}: {line}")
    rows: list[tuple[object, ...]] = []
    for name, figure in line["quantities"].items():
        known = name in true["quantities"] and name not in NO_SINGLE_TRUTH
        if known and figure["u"] > 0:
            truth = true["quantities"][name]["value"]
            pull = (figure["value"] - truth) / figure["u"]
            rows.append(
                (seed, name, truth, figure["value"], figure["u"], pull, code, f"{seconds:.1f}")
            )
    return rows


def summary(lab: str, file: Path) -> str:
    """Count runs within 1, 2 and 4 u, with mean and rms of the pulls, by quantity."""
    draws = raw_draws.read(file)
    minutes = draws.groupby("seed")["seconds"].first().sum() / 60.0
    settings = f" `--set {' --set '.join(LABS[lab])}`." if LABS[lab] else ""
    lines = [
        f"# Pulls of the command-line calibration: lab `{lab}`",
        "",
        f"Written by `python validation/calibrate_pulls.py {lab} --write`.{settings} "
        f"{raw_draws.origin(draws)} Took {minutes:.0f} minutes. "
        "Pull: (value - truth) / u. In bold: the main results.",
        "",
        "| quantity | runs | within 1 u | 2 u | 4 u | mean pull | rms pull |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(draws["quantity"].unique(), key=lambda n: n not in REQUIRED):
        pulls = draws.loc[draws["quantity"] == name, "pull"].to_numpy()
        within = " | ".join(str(int(np.sum(np.abs(pulls) < k))) for k in (1, 2, 4))
        shown = f"**{name}**" if name in REQUIRED else name
        lines.append(
            f"| {shown} | {len(pulls)} | {within} "
            f"| {pulls.mean():+.2f} | {np.sqrt(np.mean(pulls**2)):.2f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the study and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lab", choices=tuple(LABS))
    parser.add_argument("--seeds", default="1-20", help="first-last")
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    file = options.draws / f"calibrate_{options.lab}.csv"
    known = set(raw_draws.read(file)["seed"])
    made_by = raw_draws.tree()
    for seed in range(first, last + 1):
        if seed not in known:
            rows = _run(seed, LABS[options.lab])
            raw_draws.append(file, HEADER, rows, made_by)
            worst = max(rows, key=lambda r: abs(float(str(r[5]))))
            print(f"seed {seed}: exit {worst[6]}, {worst[7]} s, worst {worst[1]} {worst[5]:.2f}")
    text = summary(options.lab, file)
    print(text)
    if options.write:
        (raw_draws.HERE / f"calibrate_{options.lab}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
