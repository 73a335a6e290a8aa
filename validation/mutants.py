"""Put deliberate faults into the code, one at a time, and see whether the tests catch them.

    python validation/mutants.py                    # all areas; goes on where it stopped
    python validation/mutants.py verdict record     # these areas
    python validation/mutants.py --again survived   # those that survived before, once more
    python validation/mutants.py --check            # are all faults still found in the code?
    python validation/mutants.py --write            # the table from what has been run

Each file of `validation/mutants/` is an area: its tests, and its faults. A fault names a file, a
text that is in it exactly once, what stands there instead, and what that does to a user. Faults
were chosen where decisions and physics stand in the code, not because a test catches them.

A fault is put into a copy of the checkout, which lies alone in a temporary folder: no measured
files beside it, as on a user's machine. Then tests run until one fails: to save time first those
that the fault names, or else those with the name of its file, then all tests of its area. It is
**caught** if one fails. The rest of the suite is not run, so that a fault may count as survived
although the whole suite would catch it, never the other way round; `--whole` runs the whole suite
for survivors. A fault whose tests do not end in time counts as survived. All tests that the areas
name must pass without a fault first (`--no-baseline` leaves that out).

Needs the checkout's environment (`pip install -e '.[test]'`). Two faults at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import raw_draws

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FAULTS, TABLE = HERE / "mutants", HERE / "mutants.md"
DRAWS = raw_draws.FOLDER / "mutants.csv"
HEADER = ("key", "area", "outcome", "seconds", "test")
TIME_LIMIT_S = 900.0
"""For the tests of one fault, many times what they take on two cores that nobody else uses."""
BASELINE_LIMIT_S = 3600.0
FOLDERS_OF_THE_PACKAGE = ("drivers", "protocols", "analysis")
WANTED = 0.95


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault.

    Attributes
    ----------
    old, new
        The text that the file holds exactly once, and what replaces it.
    harm
        What the fault would do to a user.
    first
        Tests that run before those of the area; by default those with the name of the file.
    explained
        Why no test catches it, if that is known.
    """

    area: str
    file: str
    old: str
    new: str
    harm: str
    first: tuple[str, ...] = ()
    explained: str = ""

    @property
    def key(self) -> str:
        """Short name that changes when the fault does."""
        text = "\0".join((self.file, self.old, self.new))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def mutated(self, folder: Path) -> str:
        """Return the text of the file with the fault in it."""
        text = (folder / self.file).read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1 or self.old == self.new:
            raise ValueError(
                f"{self.area}: {self.file}: found {found} times, must be found once:\n{self.old}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Area:
    """The faults of one part of the code, and its tests in the order in which they run."""

    name: str
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def load_areas(names: Sequence[str] = ()) -> list[Area]:
    """Read the areas from their files."""
    areas = []
    for file in sorted(FAULTS.glob("*.toml")):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        mutants = tuple(
            Mutant(area=file.stem, **{**m, "first": tuple(m.get("first", ()))})
            for m in table["mutant"]
        )
        areas.append(Area(file.stem, tuple(table["tests"]), mutants))
    unknown = set(names) - {a.name for a in areas}
    if unknown:
        raise SystemExit(f"no area {', '.join(unknown)}; there are {[a.name for a in areas]}")
    return [a for a in areas if not names or a.name in names]


def check(areas: Sequence[Area]) -> list[str]:
    """Say which faults and tests are not found in the code any more."""
    wrong, seen = [], set()
    for area in areas:
        for test in {*area.tests, *(t for m in area.mutants for t in m.first)}:
            if not (ROOT / test.partition("::")[0]).exists():
                wrong.append(f"{area.name}: {test}: there is no such test file")
        for mutant in area.mutants:
            try:
                mutant.mutated(ROOT)
            except (OSError, ValueError) as error:
                wrong.append(str(error))
            if mutant.key in seen:
                wrong.append(f"{area.name}: {mutant.file}: given twice:\n{mutant.old}")
            seen.add(mutant.key)
    return wrong


class Copy:
    """A copy of the checkout in which the tests run."""

    def __init__(self, parent: Path, number: int) -> None:
        self.folder = parent / str(number) / "checkout"  # the folder above holds nothing else
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        for top in ("qdchar", *FOLDERS_OF_THE_PACKAGE):  # compiled loops, which take long to make
            for loop in (ROOT / top).rglob("__pycache__/*.nb[ci]"):
                target = self.folder / loop.relative_to(ROOT)
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(loop, target)
        for name in FOLDERS_OF_THE_PACKAGE:  # as an installed package has them
            (self.folder / "qdchar" / name).symlink_to(self.folder / name)
        self._environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        for variable in ("PYTEST_ADDOPTS", "NUMBA_CACHE_DIR"):
            self._environment.pop(variable, None)
        self._refuse_other_code()

    def _refuse_other_code(self) -> None:
        """Make sure that programs started here run this copy's code."""
        script = "import qdchar.analysis, qdchar; print(qdchar.__file__, qdchar.analysis.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=self.folder.parent,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        if done.stdout.count(str(self.folder)) != 2:
            raise SystemExit(f"tests would run other code than the copy: {done.stdout}")

    def test(self, tests: Sequence[str], limit_s: float, *, all_cores: bool) -> tuple[int, str]:
        """Run tests until one fails; return pytest's exit code (-1: no end in time) and output."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += ["--no-header", "--tb=no", *([] if all_cores else ["-n0"]), *tests]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                text, _ = process.communicate(timeout=limit_s)
                return process.returncode, text
            except subprocess.TimeoutExpired:
                return -1, ""
            finally:  # also simulated labs that a test has started and left
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def outcome(self, mutant: Mutant, area: Area, *, whole: bool) -> tuple[str, float, str]:
        """Put the fault in, run the tests, take it out: the outcome, seconds, test that failed."""
        file = self.folder / mutant.file
        before, times = file.read_text(encoding="utf-8"), file.stat()
        text = mutant.mutated(self.folder)
        start = time.monotonic()
        # Compiled loops are kept beside their file, and others hold copies of them
        with tempfile.TemporaryDirectory() as loops:
            if "numba" in before:
                self._environment["NUMBA_CACHE_DIR"] = loops
            try:
                file.write_text(text, encoding="utf-8")
                outcome, test = self._first_failure(mutant, area, whole=whole)
            finally:
                file.write_text(before, encoding="utf-8")
                os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
                self._environment.pop("NUMBA_CACHE_DIR", None)
        return outcome, time.monotonic() - start, test

    def _first_failure(self, mutant: Mutant, area: Area, *, whole: bool) -> tuple[str, str]:
        stem = f"test_{Path(mutant.file).stem}"
        first = mutant.first or tuple(t for t in area.tests if Path(t).stem == stem)
        rest = tuple(t for t in area.tests if t not in first)
        stages = [first, rest, *([("tests",)] if whole else [])]
        for tests in filter(None, stages):
            limit_s = BASELINE_LIMIT_S if tests == ("tests",) else TIME_LIMIT_S
            code, text = self.test(tests, limit_s, all_cores=False)
            if code in (1, 2):  # failed, or a test file could not be read
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", text, flags=re.MULTILINE)
                return "caught", failed[1] if failed else "?"
            if code == -1:
                return "no end in time", ""
            if code != 0:
                raise SystemExit(f"pytest ended with {code}:\n{text}")
        return "survived", ""


def run(areas: Sequence[Area], *, jobs: int, baseline: bool, whole: bool, skip: set[str]) -> None:
    """Run all faults that are not in `skip`, and keep each outcome as it comes."""
    todo = [(m, a) for a in areas for m in a.mutants if m.key not in skip]
    print(f"{len(todo)} faults to run, {sum(len(a.mutants) for a in areas) - len(todo)} known")
    if not todo:
        return
    made_by = raw_draws.tree()
    with tempfile.TemporaryDirectory(prefix="qdchar-mutants-") as folder:
        copies = [Copy(Path(folder), k) for k in range(jobs)]
        if baseline:
            tests = sorted({t for a in areas for t in a.tests})
            code, text = copies[0].test(tests, BASELINE_LIMIT_S, all_cores=True)
            if code != 0:
                raise SystemExit(f"the tests fail without any fault:\n{text}")
            print("without a fault all tests pass", flush=True)
        free = list(copies)
        lock = threading.Lock()

        def work(mutant: Mutant, area: Area) -> tuple[Mutant, tuple[str, float, str]]:
            with lock:
                copy = free.pop()
            try:
                return mutant, copy.outcome(mutant, area, whole=whole)
            finally:
                free.append(copy)

        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(work, m, a) for m, a in todo]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    mutant, (outcome, seconds, test) = future.result()
                    row = (mutant.key, mutant.area, outcome, f"{seconds:.1f}", test)
                    raw_draws.append(DRAWS, HEADER, [row], made_by)
                    what = f"{mutant.area}: {outcome}, {seconds:.0f} s: {mutant.harm}"
                    print(f"[{done}/{len(todo)}] {what} {test}", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def last_outcomes() -> dict[str, dict[str, str]]:
    """Return the last outcome of each fault, by key."""
    draws = raw_draws.read(DRAWS) if DRAWS.exists() else pd.DataFrame({"key": []})
    return {str(row["key"]): row for row in draws.astype(str).to_dict("records")}


def summary(areas: Sequence[Area]) -> str:
    """Return the table by area, and the faults that no test caught."""
    known = last_outcomes()
    lines = [
        "# Deliberate faults in the code",
        "",
        "`python validation/mutants.py --write` made this table; that file says what is measured.",
        "Faults that survived their first run and showed a hole led to new tests: the shares are",
        "those with these tests.",
        "",
        "| area | faults | caught | % |",
        "|---|---|---|---|",
    ]
    left, trees, total = [], set(), [0, 0]
    for area in areas:
        ran = [(m, known[m.key]) for m in area.mutants if m.key in known]
        caught = sum(o["outcome"] == "caught" for _, o in ran)
        trees |= {o["tree"] for _, o in ran}
        missing = "" if len(ran) == len(area.mutants) else f" ({len(area.mutants)} in the list)"
        share = f"{100 * caught / len(ran):.0f}" if ran else "-"
        lines.append(f"| {area.name} | {len(ran)}{missing} | {caught} | {share} |")
        total[0] += len(ran)
        total[1] += caught
        left += [(m, o) for m, o in ran if o["outcome"] != "caught"]
    lines.append(f"| all | {total[0]} | {total[1]} | {100 * total[1] / max(total[0], 1):.0f} |")
    lines += ["", f"Trees: {', '.join(sorted(trees))}.", "", "## Not caught", ""]
    for mutant, row in left:
        change = " ".join(mutant.new.split()) or "(nothing)"
        why = mutant.explained or "not explained"
        where = f"{mutant.area}, `{mutant.file}`"
        lines.append(f"- {where}: {mutant.harm} (`{change}`). {row['outcome']}: {why}.")
    return "\n".join([*lines, *([] if left else ["None."])]) + "\n"


def main() -> int:
    """Run what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("areas", nargs="*", help="areas; all if none is named")
    parser.add_argument("--check", action="store_true", help="only look the faults up in the code")
    parser.add_argument("--again", choices=["survived", "all"], help="run these once more")
    parser.add_argument("--whole", action="store_true", help="whole test suite for survivors")
    parser.add_argument("--no-baseline", action="store_true", help="not first without a fault")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--write", action="store_true", help="write the table")
    given = parser.parse_args()
    areas = load_areas(given.areas)
    if wrong := check(areas):
        print("\n".join(wrong))
        return 1
    if given.check:
        print(f"{sum(len(a.mutants) for a in areas)} faults in {len(areas)} areas, all found")
        return 0
    if not given.write:
        outcomes = {key: row["outcome"] for key, row in last_outcomes().items()}
        kept = {"survived": {"caught"}, "all": set()}.get(given.again or "", set(outcomes.values()))
        skip = {key for key, outcome in outcomes.items() if outcome in kept}
        run(
            areas,
            jobs=given.jobs,
            baseline=not given.no_baseline,
            whole=given.whole,
            skip=skip,
        )
    text = summary(areas)
    print(text)
    if given.write:
        TABLE.write_text(summary(load_areas()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
