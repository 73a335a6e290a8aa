"""Photon number and g2(0) of simulated tags: ours and SPARQ's beside the truth.

    python -m venv PEER && PEER/bin/pip install sparq-triage==0.14.0
    python validation/peers_sparq.py --sparq PEER/bin/python --write

The tags come from tests/analysis/pulsed_light.py, which follows photons one by one and shares no
line with either program. Both get the same tags, the clock and the detectors' efficiency; SPARQ's
dead-time correction also needs the dead time, ours does not. Each line of
``peers_sparq.csv`` in the folder of draws, which git ignores, is one quantity of one run by one
program; runs that are there already are left out, so a study goes on where it stopped. The summary
is printed; with ``--write`` it also replaces the committed table ``validation/peers_sparq.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
import raw_draws

from qdchar.analysis import brightness, hbt
from qdchar.estimate import Contribution, Estimate
from qdchar.tags import open_tags

HERE = Path(__file__).resolve().parent
SUMMARY = HERE / "peers_sparq.md"
sys.path.insert(0, str(HERE.parent / "tests" / "analysis"))

from pulsed_light import PERIOD_PS, A, B, Light, record  # noqa: E402

PULSES = 10_000_000
CASES: Mapping[str, Light] = {
    "in the fibre, dead time 30 ns": Light(),
    "in the fibre, dead time 1 ns": Light(dead_ps=1_000.0),
    "in the fibre, dead time 60 ns": Light(dead_ps=60_000.0),
    "behind the transmitter, dead time 30 ns": Light(mean_photons=0.2919, g2=0.00698),
    "blinking, on 0.75 of the time, dead time 30 ns": Light(
        mean_photons=0.534, g2=0.0273, on_fraction=0.75
    ),
}
HEADER = (
    *("case", "seed", "quantity", "program", "truth", "value"),
    *("low_68", "high_68", "low_95", "high_95"),
)
Row = tuple[object, ...]


def one_run(sparq: str, case: str, seed: int) -> list[Row]:
    """Simulate one run and return the lines of both programs."""
    light = CASES[case]
    rng = np.random.default_rng([seed, list(CASES).index(case)])
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder), "run", rng, PULSES, light)
        efficiency = _given("detector_efficiency", light.efficiency)
        darks = _given("dark_count_rate", light.dark_hz)
        n = brightness.analyse(run, detector_efficiency=efficiency, dark_count_rate=darks)
        g2 = hbt.analyse(run, dark_count_rate=darks)
        theirs = _sparq(sparq, run.file, run.duration_s, light)
    rows: list[Row] = []
    for quantity, truth, figure in (
        ("<n>", light.mean_photons, n["collection_efficiency"]),
        ("g2(0)", light.g2, g2["g2_zero_source"]),
    ):
        v, u = figure.value, figure.u
        ends = [
            *(figure.interval_68 or (v - u, v + u)),
            *(figure.interval_95 or (v - 1.96 * u, v + 1.96 * u)),
        ]
        rows.append((case, seed, quantity, "qdchar", truth, v, *ends))
        rows += [(case, seed, quantity, who, truth, *v) for who, v in theirs[quantity].items()]
    return rows


def _given(name: str, value: float) -> Estimate:
    """Return a value known so well that only counting is left."""
    return Estimate(
        name=name,
        value=value,
        method="given",
        budget=(Contribution(name, 1e-9 * value, "B"),),
    )


def _sparq(
    python: str, file: Path, duration_s: float, light: Light
) -> dict[str, dict[str, list[float]]]:
    """Hand the tags to SPARQ; returns value and interval ends by quantity and way of analysis."""
    chunks = list(open_tags(file).chunks())
    times = np.concatenate([c.times_ps for c in chunks])
    channels = np.concatenate([c.channels for c in chunks])
    tags = file.with_suffix(".npz")
    np.savez(tags, a=times[channels == A] * 1e-3, b=times[channels == B] * 1e-3)
    request = {
        "tags": str(tags),
        "duration_s": duration_s,
        "period_ns": PERIOD_PS * 1e-3,
        "dead_time_ns": light.dead_ps * 1e-3,
        "efficiency": light.efficiency,
    }
    done = subprocess.run(
        [python, str(HERE / "peers_sparq_theirs.py"), json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"SPARQ: {done.stderr}")
    answer: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    return answer


def study(sparq: str, seeds: int, workers: int, file: Path) -> None:
    """Make the missing runs."""
    draws = raw_draws.read(file)
    known = set(zip(draws["case"], draws["seed"], strict=True)) if len(draws) else set()
    missing = [(c, s) for s in range(1, seeds + 1) for c in CASES if (c, s) not in known]
    made_by = raw_draws.tree()
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(one_run, sparq, c, s): (c, s) for c, s in missing}
        for done, job in enumerate(as_completed(jobs), start=1):
            raw_draws.append(file, HEADER, job.result(), made_by)
            print(f"{done} of {len(missing)}", flush=True)


def summary(draws: pd.DataFrame) -> str:
    """Return mean value, mean deviation from the truth and coverage, by case and program."""
    seeds = draws["seed"].nunique()
    lines = [
        "# SPARQ and qdchar on the same tags",
        "",
        f"Written by `python validation/peers_sparq.py`: {seeds} runs a case of "
        f"{PULSES / 1e6:.0f} million pulses at 76.13 MHz, detector efficiency 0.712, 43 dark "
        "counts a second; means over the runs with their standard errors. Coverage: runs whose "
        "68 % and 95 % interval holds the truth. SPARQ (0.14.0) gives no interval to a rate. "
        f"{raw_draws.origin(draws)}",
        "",
        "| case | figure | truth | program | mean | off by | 68 % | 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        for quantity in ("<n>", "g2(0)"):
            part = draws[(draws["case"] == case) & (draws["quantity"] == quantity)]
            for program, own in part.groupby("program", sort=False):
                truth = float(own["truth"].iloc[0])
                off = 100 * (own["value"] / truth - 1)
                error = off.std(ddof=1) / np.sqrt(len(off))
                lines.append(
                    f"| {case} | {quantity.replace('<', '⟨').replace('>', '⟩')} | {truth:g} "
                    f"| {program} | {own['value'].mean():.5f} | {off.mean():+.2f}({error:.2f}) % "
                    f"| {_covered(own, 68)} | {_covered(own, 95)} |"
                )
    return "\n".join([*lines, "", *REMARKS, ""])


REMARKS = (
    "- SPARQ corrects rates as if light were continuous, r/(1 - r t_d). A pulsed source loses "
    "whole pulses, two in 30 ns and none in 1 ns. Its documentation asks for low rates.",
    "- Its g2(0) is the zero peak over side peaks within 100 ns of it. Dead time lifts the nearest "
    "of them: a click on one detector says that the other one was not blind.",
    "- Under blinking these side peaks give the g2(0) of the on-state, 0.75 of the time average "
    "that belongs to a time-averaged ⟨n⟩; dead time takes off the rest.",
)


def _covered(own: pd.DataFrame, level: int) -> str:
    low, high = own[f"low_{level}"], own[f"high_{level}"]
    if low.isna().any() or high.isna().any():
        return "–"
    return f"{own['truth'].between(low, high).sum()}/{len(own)}"


def main() -> None:
    """Run the study and print its summary."""
    parser = argparse.ArgumentParser(description="SPARQ and qdchar on the same simulated tags")
    parser.add_argument("--sparq", help="Python of an environment with sparq-triage")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    file = options.draws / "peers_sparq.csv"
    if options.sparq:
        study(options.sparq, options.seeds, options.workers, file)
    text = summary(raw_draws.read(file))
    print(text)
    if options.write:
        SUMMARY.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
