"""Kill calibrations and recordings at random moments, and look at what is left.

    python validation/kills.py calibrations --recipe quick --count 80
    python validation/kills.py calibrations --recipe full --count 20 --labs 2
    python validation/kills.py tags --count 40
    python validation/kills.py summary --write

``calibrations`` kills (SIGKILL) a calibration of the simulated lab at a moment that is uniform over
the processor time that an uninterrupted one takes, so that other work on the machine does not
matter. It asks for the report of what is left, resumes the run, and compares its record with that
of an uninterrupted calibration of the same lab.

- What was complete at the kill must be in the record with the same value, to the last digit. It has
  the noise of the uninterrupted calibration, which begins with the same seed, so it says nothing
  about the resumed part, and is not compared further.
- Voltages at which a piezo was found at a peak are left out: they change from tuning to tuning.
- What was measured after the kill has noise of its own (a lab that is started again draws it anew)
  and the same errors of instruments. The difference in combined u counts those of certificates
  twice although they cancel; the standard uncertainty of the difference leaves them out.

``tags`` kills a recording of 10 million tags a second within its first two seconds. The draws are
kept in the folder of draws, which git ignores; a study goes on where it stopped. The summary is
printed after each study; with ``--write`` it also replaces the committed table
``validation/kills.md``. It needs psutil.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import raw_draws

from qdchar.errors import QdcharError
from qdchar.files import read_json
from qdchar.lab.run import Step, read_step
from qdchar.notation import text
from qdchar.record import SourceRecord
from qdchar.report.comparison import compare_records
from qdchar.tags.formats.photon_hdf5 import StoredTags

LIMIT_u = 3.0
POSITIONS = ("cavity_resonance_voltage", "etalon_peak_voltage")
"""Where a piezo stands at a peak. It is tuned anew after a kill, and hysteresis and creep move the
peak by far more than the lock's u; no figure of the source."""
TAGS_PER_S = 10_000_000

CALIBRATIONS = (
    "recipe", "kill", "seed", "killed_s", "of_s", "complete_steps", "printed", "lost",
    "unreadable", "report_exit", "resume_exit", "verdict", "record", "taken_over", "figures",
    "beyond", "worst", "pull", "beyond_strict", "worst_strict", "pull_strict", "message",
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
    """Return processor time [s] and record of an uninterrupted calibration, made once."""
    file = folder / "kills_uninterrupted" / f"{recipe}_{seed}.json"
    if not file.exists():
        before_s = _children_s()
        with tempfile.TemporaryDirectory() as out:
            code, line, errors = qdchar(
                "calibrate", "--recipe", recipe, "--seed", str(seed), "--out", out
            )
            if "record" not in line:
                raise RuntimeError(f"{recipe}, seed {seed}: exit {code}: {errors[-2000:]}")
            record = read_json(Path(line["record"]))
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"processor_s": _children_s() - before_s, "record": record}
        file.write_text(json.dumps(kept), encoding="utf-8")
    data = read_json(file)
    return float(data["processor_s"]), SourceRecord.model_validate(data["record"])


def _children_s() -> float:
    """Processor time of all programs that were started and have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _worked_s(process: psutil.Process) -> float:
    """Processor time so far of a program that runs and of those that it started [s]."""
    with suppress(psutil.NoSuchProcess):
        return sum(sum(p.cpu_times()[:4]) for p in (process, *process.children()))
    return 0.0


def kill_one(
    recipe: str, kill: int, labs: int, draws: Path, attempt: int = 0
) -> tuple[object, ...] | None:
    """Kill one calibration and resume it.

    Returns
    -------
    tuple or None
        One row of the draws; None if the calibration ended before it was killed.
    """
    seed = 1 + kill % labs
    takes_s, expected = uninterrupted(recipe, seed, draws)
    rng = np.random.default_rng([kill, sum(recipe.encode()), attempt])
    work_s = float(rng.uniform(0.0, takes_s))
    with tempfile.TemporaryDirectory() as out:
        log = Path(out) / "log.txt"
        command = [*QDCHAR, "calibrate", "--recipe", recipe, "--seed", str(seed), "--out", out]
        with started(command, log) as process:
            program = psutil.Process(process.pid)
            while process.poll() is None and _worked_s(program) < work_s:
                time.sleep(0.02)
            if process.poll() is not None:
                return None
            process.kill()
        printed = _printed(log.read_text(encoding="utf-8", errors="replace"))
        folders = [f for f in Path(out).iterdir() if f.is_dir() and not f.name.startswith(".")]
        if not folders:  # killed before there was a run: nothing to resume, a new one begins
            row = (recipe, kill, seed, f"{work_s:.1f}", f"{takes_s:.1f}", 0, 0, 0, 0, "", "")
            return (*row, "no run folder", False, 0, 0, 0, "", 0.0, 0, "", 0.0, "")
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
        elif code:
            message = "; ".join(map(str, line.get("reasons", [])))
        record = None
        if (run / "record.json").exists():
            record = SourceRecord.model_validate(read_json(run / "record.json"))
    taken = _taken_over(steps, record)
    lost |= {(name, "is another value in the record") for name, same in taken.items() if not same}
    pulls = _pulls(expected, None if verdict == "finished before" else record, leave_out=taken)
    return (
        recipe, kill, seed, f"{work_s:.1f}", f"{takes_s:.1f}", len(steps), len(printed),
        len(lost), len(unreadable), report, code, verdict, record is not None,
        len(taken), len(pulls),
        *_beyond({name: pair[0] for name, pair in pulls.items()}),
        *_beyond({name: pair[1] for name, pair in pulls.items()}),
        "; ".join(map(str, [*unreadable, *lost, message])).strip("; "),
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


def _taken_over(steps: Sequence[Step], record: SourceRecord | None) -> dict[str, bool]:
    """Return which quantities a record took over, and whether each is as it was before the kill."""
    if record is None:
        return {}
    before = {e.name: e for step in steps for e in step.result.estimates}
    names = {name for taken in record.taken_over for name in taken.quantities}
    names &= set(record.quantities)
    return {n: n in before and record.estimate(n).value == before[n].value for n in sorted(names)}


def _pulls(
    expected: SourceRecord, found: SourceRecord | None, leave_out: Collection[str]
) -> dict[str, tuple[float, float]]:
    """Return how far a record is from that of an uninterrupted calibration.

    Returns
    -------
    dict
        By quantity: the difference in combined u, and in standard uncertainties of the difference,
        in which common certificates cancel; both infinite where a quantity is missing.
    """
    if found is None:
        return {}
    missing = set(expected.quantities) - set(found.quantities)
    pulls = dict.fromkeys(missing, (math.inf, math.inf))
    for change in compare_records(expected, found):
        u = math.hypot(change.first.u, change.second.u)
        if u > 0 and change.name not in (*leave_out, *POSITIONS):  # an upper limit has none
            pulls[change.name] = (change.difference / u, change.pull or 0.0)
    return pulls


def _beyond(pulls: Mapping[str, float]) -> tuple[int, str, str]:
    """Return how many are beyond the limit, the name of the furthest, and how far it is."""
    if not pulls:
        return 0, "", "0.00"
    worst = max(pulls, key=lambda name: abs(pulls[name]))
    return sum(abs(p) > LIMIT_u for p in pulls.values()), worst, f"{pulls[worst]:.2f}"


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
        "Calibrations of simulated labs, killed (SIGKILL) at a moment uniform over the processor "
        "time of an uninterrupted one, then resumed. Complete: with record and verdict after that. "
        "What was printed before the kill is in the results to the last digit, and what the record "
        "took over is as it was; else it is lost. What was measured after the kill is compared "
        "with an uninterrupted calibration of the same lab; with u at its true size, 0.3 % of "
        "these figures differ by more than 3 by chance. In the last two columns the certificates "
        "that both rest on do not count."
    )
    yield ""
    yield (
        "| recipe | kills | before the run folder | after the verdict | resumed and complete | not "
        "complete | unreadable files | figures printed | taken over | of these lost | report's "
        "exits | GO | figures compared | beyond 3 combined u | furthest | beyond 3 u of the "
        "difference | furthest |"
    )
    yield "|" + 17 * "---|"
    for recipe, runs in draws.groupby("recipe", sort=False):
        before, after = (runs["verdict"] == v for v in ("no run folder", "finished before"))
        complete = ~before & ~after & runs["resume_exit"].isin([0, 10, 11]) & runs["record"]
        exits = " ".join(sorted({str(int(e)) for e in runs["report_exit"].dropna()}))
        yield (
            f"| {recipe} | {len(runs)} | {before.sum()} | {after.sum()} | {complete.sum()} | "
            f"{(~before & ~after & ~complete).sum()} | {runs['unreadable'].sum()} | "
            f"{runs['printed'].sum()} | {runs['taken_over'].sum()} | {runs['lost'].sum()} | "
            f"{exits} | {(runs['verdict'] == 'GO').sum()} | {runs['figures'].sum()} | "
            f"{runs['beyond'].sum()} | {_furthest(runs, '')} | "
            f"{runs['beyond_strict'].sum()} | {_furthest(runs, '_strict')} |"
        )
    yield ""
    yield raw_draws.origin(draws, ("recipe", "kill"))
    odd = draws[draws["message"].notna() & (draws["message"] != "")]
    yield from (
        f"- {r.recipe}, kill {r.kill}: exit {r.resume_exit}: {r.message}" for r in odd.itertuples()
    )
    yield ""


def _furthest(runs: pd.DataFrame, kind: str) -> str:
    """Name the figure that is furthest from that of an uninterrupted calibration."""
    row = runs.loc[runs[f"pull{kind}"].abs().idxmax()]
    return f"{row[f'pull{kind}']:+.2f} ({row[f'worst{kind}']})"


def _of_tags(draws: pd.DataFrame) -> Iterator[str]:
    if not len(draws):
        return
    yield (
        f"Recordings that {TAGS_PER_S:,} tags a second are offered to, killed (SIGKILL) within two "
        "seconds of their first block. Tags a second: what the machine managed. Missing: age, at "
        "the kill, of the oldest block that was appended and is not in the file."
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
    parser.add_argument("--labs", type=int, default=4, help="simulated labs, seeds from 1")
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
            header, row = CALIBRATIONS, None
            for attempt in itertools.count():
                row = kill_one(options.recipe, kill, options.labs, options.draws, attempt)
                if row is not None:
                    break
        raw_draws.append(file, header, [row], made_by)
        print(*row, sep=" | ", flush=True)
    table = summary(options.draws)
    print(table)
    if options.write:
        (raw_draws.HERE / "kills.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
