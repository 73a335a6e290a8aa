"""Do the intervals cover? Hundreds of calibrations of simulated labs with known truth.

    python validation/interval_coverage.py default --runs 500 --workers 2
    python validation/interval_coverage.py default --runs 0 --write

Each run serves a simulated lab, calibrates it through its sockets with a quick recipe, and appends
one line per quantity to ``coverage_LAB.csv`` in the folder of draws, which git ignores. Seeds that
are in that file already are left out, so a study goes on where it stopped. The summary is printed;
with ``--write`` it also replaces the committed table ``validation/coverage_LAB.md``.

The labs differ from the default one in what spoils estimators: blinking, a long dead time, a faint
source, drift. In each run the piezo's hysteresis and creep and the detectors' dead time are drawn
anew within what a budget can know of them (they are the same in all labs else, and would pull in
one direction); so are, as always, all certificates, gains, delays and noise. The truth of what
fades is that at the middle of its measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import raw_draws

from qdchar.lab.display import Display

QUICK: Mapping[str, Any] = {
    "cavity": {"stop_V": 30.0},  # three orders of six
    "hbt": {"before_s": 0.1, "after_s": 0.3},
    "brightness": {"duration_s": 0.03},
    "transmitter": {"before_s": 0.03, "after_s": 0.1},
    "lifetime": {"emission_s": 0.2, "response_s": 0.08},
    "misalignment": {"duration_s": 0.02},
    "phase": {"dwell_s": 0.002},
    "hom": {"duration_s": 0.04},
}
# Switching on and off makes points of a scan differ by 4 % in 5 ms. They are counted 20 times as
# long, and over that time the piezo must creep as little.
FLICKERING: Mapping[str, Any] = {
    **QUICK,
    "cavity": {**QUICK["cavity"], "settle_s": 600.0},
    "dead_time": {"duration_s": 0.1},
    "rabi": {"dwell_s": 0.1},
    "etalon": {"source_dwell_s": 0.1, "hold_every": 20},
    "brightness": {"duration_s": 0.1},
    "transmitter": {"before_s": 0.1, "after_s": 0.2},
}
# 20 000 clicks a second: everything takes longer, the loop on the light above all
PATIENT: Mapping[str, Any] = {
    "cavity": {
        "stop_V": 30.0,
        "search_power_W": 3e-9,
        "survey_dwell_s": 0.1,
        "window_step_V": 0.03,
        "settle_s": 1800.0,
        "dwell_s": 1.0,
        "tolerance_V": 0.0015,
    },
    "dead_time": {"duration_s": 60.0},
    "rabi": {"dwell_s": 1.0},
    "lifetime": {"emission_s": 15.0, "response_s": 30.0, "probe_s": 1.0},
    "etalon": {"source_dwell_s": 1.0, "hold_every": 20, "peak_dwell_s": 10.0},
    "brightness": {"duration_s": 10.0},
    "hbt": {"before_s": 20.0, "after_s": 50.0},
    "transmitter": {"before_s": 10.0, "after_s": 40.0},
    "misalignment": {"duration_s": 5.0},
    "phase": {"dwell_s": 0.1},
}


@dataclass(frozen=True)
class Lab:
    """Settings of a simulated lab, its recipe, and where its dead time lies [s]."""

    settings: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=lambda: QUICK)
    dead_time_s: tuple[float, float] = (26.5e-9, 39.2e-9)

    def drawn(self, seed: int) -> Mapping[str, str]:
        """Draw the settings of one run."""
        rng = np.random.default_rng(seed)
        ranges = {
            "piezo.hysteresis": (0.03, 0.09),
            "piezo.creep": (0.006, 0.018),
            "detector.dead_time": self.dead_time_s,
        }
        return {**self.settings, **{key: repr(rng.uniform(*r)) for key, r in ranges.items()}}


LABS: Mapping[str, Lab] = {
    "default": Lab(),
    "blinking": Lab(
        {"source.blinking_on_fraction": "0.75", "source.blinking_time": "1e-5"}, FLICKERING
    ),
    "dead-time-60": Lab(dead_time_s=(52.8e-9, 65.5e-9)),
    "drift": Lab({"drift.brightness_per_hour": "-0.5"}),
    "faint": Lab(
        {
            "source.collection_efficiency": "3.7e-4",
            "source.g2": "0.2",
            "transmitter.efficiency": "0.65",
            "tagger.sync_divider": "16384",  # else nearly all tags would be the clock's
        },
        PATIENT,
    ),
}
NO_SINGLE_TRUTH = ("cavity_resonance_voltage", "phase_visibility")
HEADER = ("seed", "quantity", "truth", "value", "u", "low_68", "high_68", "low_95", "high_95")


FADES: Mapping[str, tuple[str, int]] = {
    "collection_efficiency": ("brightness", 1),
    "mean_photon_number": ("transmitter", 1),
    "p1": ("transmitter", 1),
    "p2": ("transmitter", 2),
}
"""By figure: the measurement that makes it, and the power of the brightness that it goes with."""


class _Watch(Display):
    """Shows nothing, and notes when in the lab's time each measurement was half done."""

    def __init__(self, lab: Any) -> None:
        super().__init__()
        self._lab = lab
        self.half_done_s: dict[str, float] = {}

    def say(self, text: str) -> None: ...

    @contextlib.contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[Any]:
        start_s = self._lab.now_s
        yield lambda done, total, text: None
        self.half_done_s[title] = 0.5 * (start_s + self._lab.now_s)


def one_run(lab: str, seed: int, ideal: bool = False) -> list[tuple[object, ...]]:
    """Calibrate one simulated lab and return its lines of the table."""
    from qdchar.drivers.twin.serve import serve, station_toml
    from qdchar.drivers.twin.truth import Truth
    from qdchar.errors import InconclusiveError
    from qdchar.lab.calibrate import calibrate
    from qdchar.lab.measurements.registry import MEASUREMENTS
    from qdchar.lab.recipe import Recipe
    from qdchar.lab.run import Run
    from qdchar.lab.station import load_station
    from qdchar.link import load_link
    from qdchar.record import load_record

    truth = Truth.from_settings(LABS[lab].drawn(seed), ideal=ideal)
    true = {name: value for name, value, _ in truth.quantities()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        station_file = folder / "station.toml"
        served = stack.enter_context(serve(truth, seed))
        station_file.write_text(station_toml(served))
        true["detector_linearity_measured"] = served.lab.errors.deviations.linearity_s
        run = stack.enter_context(Run.create(folder, "study", "coverage"))
        station = stack.enter_context(load_station(station_file, say=lambda _: None))
        recipe = Recipe.model_validate(LABS[lab].recipe)
        watch = _Watch(served.lab)
        no_key = load_link(None).model_copy(update={"block_kind": "asymptotic"})  # quickly done
        file = run.folder / "record.json"
        try:
            calibrate(station, run, recipe, no_key, watch, MEASUREMENTS)
        except InconclusiveError:
            # of a g2 below zero no key rate is predicted, but the record is written
            if not file.exists():
                raise
        record = load_record(file, accept=True)
    for name, (measurement, power) in FADES.items():
        hours = watch.half_done_s[MEASUREMENTS[measurement].title] / 3600.0
        true[name] *= (1.0 + truth.source.fade_per_hour) ** (power * hours)
    rows: list[tuple[object, ...]] = []
    for name, figure in record.quantities.items():
        if name in true and name not in NO_SINGLE_TRUTH and figure.u > 0:
            v, u = figure.value, figure.u
            low_68, high_68 = figure.interval_68 or (v - u, v + u)
            low_95, high_95 = figure.interval_95 or (v - 1.96 * u, v + 1.96 * u)
            rows.append((seed, name, true[name], v, u, low_68, high_68, low_95, high_95))
    return rows


def study(lab: str, ideal: bool, runs: int, workers: int, file: Path) -> None:
    """Make the missing runs of one lab."""
    known = set(raw_draws.read(file)["seed"])
    missing = [s for s in range(first_seed(lab), first_seed(lab) + runs) if s not in known]
    made_by = raw_draws.tree()
    with ProcessPoolExecutor(workers) as pool:
        jobs = {pool.submit(one_run, lab, seed, ideal): seed for seed in missing}
        for done, job in enumerate(as_completed(jobs), start=1):
            if job.exception() is not None:
                print(f"{lab}, seed {jobs[job]}: {job.exception()}", flush=True)
                continue
            raw_draws.append(file, HEADER, job.result(), made_by)
            print(f"{lab}: {done} of {len(missing)}", flush=True)


def first_seed(lab: str) -> int:
    """Return the first seed of a lab; no two labs share one, so certificates are drawn anew."""
    return 1 + 10_000 * list(LABS).index(lab)


def summary(lab: str, ideal: bool, file: Path) -> str:
    """Coverage of the 68 % and 95 % intervals, mean and rms of the pulls, by quantity."""
    draws = raw_draws.read(file)
    lines = [
        f"# Coverage of the intervals: lab `{lab}`{', ideal' if ideal else ''}",
        "",
        "Written by `python validation/interval_coverage.py "
        f"{lab}{' --ideal' if ideal else ''} --write`. "
        f"{raw_draws.origin(draws)} Pull: (value - truth) / u.",
        "",
        "| quantity | runs | 68 % interval | 95 % interval | mean pull | rms pull |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in draws.groupby("quantity", sort=False):
        inside = [
            100.0 * part["truth"].between(part[f"low_{level}"], part[f"high_{level}"]).mean()
            for level in (68, 95)
        ]
        pulls = (part["value"] - part["truth"]) / part["u"]
        lines.append(
            f"| {name} | {len(part)} | {inside[0]:.1f} % | {inside[1]:.1f} % "
            f"| {pulls.mean():+.2f} | {np.sqrt((pulls**2).mean()):.2f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Run a study and print its summary."""
    parser = argparse.ArgumentParser(description="coverage of the intervals on simulated labs")
    parser.add_argument("labs", nargs="+", choices=tuple(LABS))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    parser.add_argument("--ideal", action="store_true", help="labs without imperfections")
    options = parser.parse_args()
    for lab in options.labs:
        name = f"coverage_{lab}_ideal" if options.ideal else f"coverage_{lab}"
        file = options.draws / f"{name}.csv"
        study(lab, options.ideal, options.runs, options.workers, file)
        text = summary(lab, options.ideal, file)
        print(text)
        if options.write:
            (raw_draws.HERE / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
