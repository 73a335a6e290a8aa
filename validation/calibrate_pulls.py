r"""Calibrate the simulated lab over and over, and hold every figure against the truth.

    python validation/calibrate_pulls.py --seeds 1-20 --table validation/calibrate_default.csv
    python validation/calibrate_pulls.py --seeds 1-10 --table validation/calibrate_other.csv \
        --set source.lifetime=60e-12 --set source.g2=0.05 --set source.collection_efficiency=0.45 \
        --set source.pi_power=25e-9 --set cavity.resonance_V=22.5

Each line of the table is one figure of one run: seed, quantity, truth, value, u, pull. Seeds that
are in the table already are left out, so an interrupted study goes on where it stopped. The
simulated lab and the calibration are separate programs; the truth comes from `qdchar twin --truth`.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def summary(table: Path) -> str:
    """Count runs within 1, 2 and 4 u, with mean and scatter of the pulls, by quantity."""
    with table.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = list(dict.fromkeys(r["quantity"] for r in rows))
    lines = [f"{'quantity':<26}{'runs':>5}{'<1u':>6}{'<2u':>6}{'<4u':>6}{'mean':>8}{'sd':>7}"]
    for name in sorted(names, key=lambda n: n not in REQUIRED):
        pulls = np.array([float(r["pull"]) for r in rows if r["quantity"] == name])
        within = [int(np.sum(np.abs(pulls) < k)) for k in (1, 2, 4)]
        mark = "*" if name in REQUIRED else " "
        lines.append(
            f"{mark}{name:<25}{len(pulls):>5}"
            + "".join(f"{w:>6}" for w in within)
            + f"{pulls.mean():>8.2f}{pulls.std():>7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the study and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1-20", help="first-last")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    known: set[int] = set()
    if options.table.exists():
        with options.table.open(encoding="utf-8") as stream:
            known = {int(r["seed"]) for r in csv.DictReader(stream)}
    else:
        options.table.write_text(",".join(HEADER) + "\n", encoding="utf-8")
    for seed in range(first, last + 1):
        if seed not in known:
            rows = _run(seed, options.settings)
            with options.table.open("a", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(rows)
            worst = max(rows, key=lambda r: abs(float(str(r[5]))))
            print(f"seed {seed}: exit {worst[6]}, {worst[7]} s, worst {worst[1]} {worst[5]:.2f}")
    print(summary(options.table))


if __name__ == "__main__":
    main()
