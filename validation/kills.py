"""Kill calibrations and recordings at random moments, and look at what is left.

    python validation/kills.py calibrations --recipe quick --count 100
    python validation/kills.py calibrations --recipe full --count 100
    python validation/kills.py tags --count 40
    python validation/kills.py summary --write

``calibrations`` kills (SIGKILL) a calibration of the simulated lab at a moment that is uniform over
the time an uninterrupted one takes, asks for the report of what is left, resumes it, and compares
its record with that of an uninterrupted calibration of the same lab. ``tags`` kills a recording of
10 million tags a second within its first two seconds. The draws are kept in the folder of draws,
which git ignores; a study goes on where it stopped. The summary is printed after each study; with
``--write`` it also replaces the committed table ``validation/kills.md``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import raw_draws

from qdchar.errors import QdcharError
from qdchar.files import read_json
from qdchar.lab.run import Step, read_step
from qdchar.notation import text
from qdchar.record import SourceRecord
from qdchar.report.comparison import compare_records
from qdchar.tags.formats.photon_hdf5 import StoredTags

LABS = 10
"""Simulated labs, seeds 1 to 10, over which the kills are spread."""
LIMIT_u = 3.0
TAGS_PER_S = 10_000_000

CALIBRATIONS = (
    "recipe", "kill", "seed", "killed_s", "of_s", "complete_steps", "printed", "lost",
    "unreadable", "report_exit", "resume_exit", "verdict", "figures", "beyond", "beyond_strict",
    "worst", "pull", "message",
)  # fmt: skip
TAGS = ("kill", "seed", "killed_s", "appended", "on_disk", "missing_s", "right")

RECORDER = """
import sys, time
import numpy as np
from qdchar.tags import TagWriter
began, n, size = time.monotonic(), 0, 50_000
writer = TagWriter(sys.argv[1], resolution_ps=1.0)
while True:
    k = np.arange(n, n + size)
    writer.append(k * 1000 + 7 * (k % 13), (k % 5).astype(np.uint8))
    n += size
    print(n, time.monotonic(), flush=True)
    time.sleep(max(began + n / 1e7 - time.monotonic(), 0.0))
"""
"""Tag k is at 1000 k + 7 (k % 13) ps on channel k % 5: whoever reads can tell which tags he has."""

QDCHAR = (sys.executable, "-m", "qdchar")


def qdchar(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command; returns exit code, line of JSON, and standard error."""
    done = subprocess.run(
        [*QDCHAR, *arguments, "--json"], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    try:
        line = dict(json.loads(lines[-1])) if lines else {}
    except ValueError:
        line = {}
    return done.returncode, line, done.stderr


@contextmanager
def started(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that is killed when the block ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def uninterrupted(recipe: str, seed: int, folder: Path) -> tuple[float, SourceRecord]:
    """Return duration [s] and record of an uninterrupted calibration, made once."""
    file = folder / "kills_uninterrupted" / f"{recipe}_{seed}.json"
    if not file.exists():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as out:
            code, line, errors = qdchar(
                "calibrate", "--recipe", recipe, "--seed", str(seed), "--out", out
            )
            if "record" not in line:
                raise RuntimeError(f"{recipe}, seed {seed}: exit {code}: {errors[-2000:]}")
            record = read_json(Path(line["record"]))
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"duration_s": time.monotonic() - began, "record": record}
        file.write_text(json.dumps(kept), encoding="utf-8")
    data = read_json(file)
    return float(data["duration_s"]), SourceRecord.model_validate(data["record"])


def kill_one(recipe: str, kill: int, draws: Path, attempt: int = 0) -> tuple[object, ...] | None:
    """Kill one calibration and resume it.

    Returns
    -------
    tuple or None
        One row of the draws; None if the calibration ended before it was killed.
    """
    seed = 1 + kill % LABS
    duration_s, expected = uninterrupted(recipe, seed, draws)
    rng = np.random.default_rng([kill, sum(recipe.encode()), attempt])
    wait_s = float(rng.uniform(0.0, duration_s))
    with tempfile.TemporaryDirectory() as out:
        log = Path(out) / "log.txt"
        command = [*QDCHAR, "calibrate", "--recipe", recipe, "--seed", str(seed), "--out", out]
        with started(command, log) as process:
            try:
                process.wait(wait_s)
                return None
            except subprocess.TimeoutExpired:
                process.kill()
        printed = _printed(log.read_text(encoding="utf-8", errors="replace"))
        folders = [f for f in Path(out).iterdir() if f.is_dir() and not f.name.startswith(".")]
        if not folders:  # killed before there was a run: nothing to resume, a new one begins
            row = (recipe, kill, seed, f"{wait_s:.1f}", f"{duration_s:.0f}", 0, 0, 0, 0, "", "")
            return (*row, "no run folder", 0, 0, 0, "", 0.0, "")
        (run,) = folders
        steps, unreadable = _steps(run)
        lost = printed - {(e.quantity.words, text(e)) for s in steps for e in s.result.estimates}
        report, *_ = qdchar("report", str(run))
        code, line, errors = qdchar("calibrate", "--resume", str(run))
        verdict, message = str(line.get("verdict")), str(line.get("error", ""))
        if code == 2 and "is finished" in message:  # killed after its verdict
            verdict, message = "finished before", ""
        elif code not in (0, 10, 11):
            message = message or errors[-300:]
        record = None
        if (run / "record.json").exists():
            record = SourceRecord.model_validate(read_json(run / "record.json"))
    figures, beyond, strict, worst, pull = _compare(expected, record)
    return (
        recipe, kill, seed, f"{wait_s:.1f}", f"{duration_s:.0f}", len(steps), len(printed),
        len(lost), len(unreadable), report, code, verdict, figures, beyond, strict, worst,
        f"{pull:.2f}", "; ".join(map(str, [*unreadable, *lost, message])).strip("; "),
    )  # fmt: skip


def _printed(log: str) -> set[tuple[str, str]]:
    """Words and value of every quantity that was reported, whole lines only."""
    lines = log.splitlines(keepends=True)
    found = (re.fullmatch(r"    (\S.*?) = (.*)\n", line) for line in lines)
    return {(m[1], m[2]) for m in found if m}


def _steps(run: Path) -> tuple[list[Step], list[str]]:
    steps, unreadable = [], []
    for file in sorted((run / "results").glob("*.json")):
        try:
            steps.append(read_step(file))
        except QdcharError as error:
            unreadable.append(str(error))
    return steps, unreadable


def _compare(
    expected: SourceRecord, found: SourceRecord | None
) -> tuple[int, int, int, str, float]:
    """Compare with the record of an uninterrupted calibration.

    Returns
    -------
    tuple
        Number of quantities compared; of those beyond 3 combined u; of those beyond 3 standard
        uncertainties of the difference, in which common certificates cancel; the name of the
        worst, and its difference in combined u.
    """
    if found is None:
        return 0, 0, 0, "", 0.0
    pulls: dict[str, float] = dict.fromkeys(
        set(expected.quantities) - set(found.quantities), math.inf
    )
    strict = len(pulls)
    for change in compare_records(expected, found):
        u = math.hypot(change.first.u, change.second.u)
        if u > 0:  # an upper limit has none
            pulls[change.name] = change.difference / u
            strict += abs(change.pull or 0.0) > LIMIT_u
    worst = max(pulls, key=lambda n: abs(pulls[n]))
    return len(pulls), sum(abs(p) > LIMIT_u for p in pulls.values()), strict, worst, pulls[worst]


def kill_recording(kill: int) -> tuple[object, ...]:
    """Kill one recording of tags; returns one row of the draws."""
    wait_s = float(np.random.default_rng([kill, 10]).uniform(0.02, 2.0))
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "run.h5", Path(folder) / "log.txt"
        with started((sys.executable, "-c", RECORDER, str(file)), log) as process:
            while not log.stat().st_size:
                if process.poll() is not None:
                    raise RuntimeError("the recording ended before it was killed")
                time.sleep(0.005)
            time.sleep(wait_s)
            process.kill()
            killed = time.monotonic()  # the same clock in all processes
            process.wait()
        whole = [x.split() for x in log.read_text().splitlines(keepends=True) if x.endswith("\n")]
        appended = [(int(n), float(at)) for n, at in whole]
        stored = StoredTags(file)
        chunks = list(stored.chunks(300_000))
        times = np.concatenate([c.times_ps for c in chunks])
        channels = np.concatenate([c.channels for c in chunks])
    k = np.arange(len(times))
    right = np.array_equal(times, k * 1000 + 7 * (k % 13)) and np.array_equal(channels, k % 5)
    # age, at the kill, of the oldest block that is not on the disk
    missing_s = max((killed - at for n, at in appended if n > len(times)), default=0.0)
    last = appended[-1][0] if appended else 0
    return kill, kill, f"{wait_s:.3f}", last, len(times), f"{missing_s:.3f}", right


def summary(folder: Path) -> str:
    """Make the tables of all draws."""
    lines = [
        "# What a kill leaves",
        "",
        "Written by `python validation/kills.py summary --write`.",
        "",
        *_of_calibrations(raw_draws.read(folder / "kills_calibrations.csv")),
        *_of_tags(raw_draws.read(folder / "kills_tags.csv")),
    ]
    return "\n".join([*lines, ""])


def _of_calibrations(draws: pd.DataFrame) -> Iterator[str]:
    if not len(draws):
        return
    yield (
        "Calibrations of simulated labs, killed (SIGKILL) at a moment uniform over the time of an "
        "uninterrupted one, then resumed. Complete: with record and verdict after that. Figures "
        "are compared with those of an uninterrupted calibration of the same lab; with u at its "
        "true size, 0.3 % of them differ by more than 3 by chance. In the last column the "
        "certificates that both rest on do not count."
    )
    yield ""
    yield (
        "| recipe | kills | before the run folder | after the verdict | resumed and complete | not "
        "complete | unreadable files | figures printed | of these lost | report's exits | GO | "
        "figures compared | beyond 3 combined u | largest | beyond 3 u of the difference |"
    )
    yield "|" + 15 * "---|"
    for recipe, runs in draws.groupby("recipe", sort=False):
        before, after = (runs["verdict"] == v for v in ("no run folder", "finished before"))
        complete = ~before & ~after & runs["resume_exit"].isin([0, 10, 11]) & (runs["figures"] > 0)
        exits = " ".join(sorted({str(int(e)) for e in runs["report_exit"].dropna()}))
        yield (
            f"| {recipe} | {len(runs)} | {before.sum()} | {after.sum()} | {complete.sum()} | "
            f"{(~before & ~after & ~complete).sum()} | {runs['unreadable'].sum()} | "
            f"{runs['printed'].sum()} | {runs['lost'].sum()} | {exits} | "
            f"{(runs['verdict'] == 'GO').sum()} | {runs['figures'].sum()} | "
            f"{runs['beyond'].sum()} | {runs['pull'].abs().max():.2f} | "
            f"{runs['beyond_strict'].sum()} |"
        )
    yield ""
    yield raw_draws.origin(draws)
    odd = draws[draws["message"].notna() & (draws["message"] != "")]
    yield from (
        f"- {r.recipe}, kill {r.kill}: exit {r.resume_exit}: {r.message}" for r in odd.itertuples()
    )
    yield ""


def _of_tags(draws: pd.DataFrame) -> Iterator[str]:
    if not len(draws):
        return
    yield (
        f"Recordings of {TAGS_PER_S:,} tags a second, killed (SIGKILL) within their first two "
        "seconds. Missing: age, at the kill, of the oldest block that was appended and is not in "
        "the file."
    )
    yield ""
    yield (
        "| kills | every tag right | tags appended | tags in the files | tags a second | longest "
        "missing [s] |"
    )
    yield "|" + 6 * "---|"
    rate = draws["appended"].sum() / draws["killed_s"].sum()
    yield (
        f"| {len(draws)} | {int(draws['right'].sum())} | {draws['appended'].sum()} | "
        f"{draws['on_disk'].sum()} | {rate:.2g} | "
        f"{draws['missing_s'].max():.3f} |"
    )
    yield ""
    yield raw_draws.origin(draws)
    yield ""


def main() -> None:
    """Run a study and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=("calibrations", "tags", "summary"))
    parser.add_argument("--recipe", default="quick", help="as calibrate takes it")
    parser.add_argument("--count", type=int, default=100, help="number of kills")
    parser.add_argument("--draws", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    made_by = raw_draws.tree()
    file = options.draws / f"kills_{options.study}.csv"
    known = raw_draws.read(file)
    if options.study == "calibrations":
        done = set(known.loc[known["recipe"] == options.recipe, "kill"]) if len(known) else set()
    else:
        done = set(known["kill"]) if len(known) else set()
    for kill in range(options.count if options.study != "summary" else 0):
        if kill in done:
            continue
        if options.study == "tags":
            header, row = TAGS, kill_recording(kill)
        else:
            tries = (kill_one(options.recipe, kill, options.draws, k) for k in itertools.count())
            header, row = CALIBRATIONS, next(row for row in tries if row is not None)
        raw_draws.append(file, header, [row], made_by)
        print(*row, sep=" | ", flush=True)
    table = summary(options.draws)
    print(table)
    if options.write:
        (raw_draws.HERE / "kills.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
