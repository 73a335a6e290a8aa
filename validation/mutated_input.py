"""Change input files at random, and see how the command ends that reads them.

    python validation/mutated_input.py --count 2000 --write

Each changed file must end with an exit code of its own, within `SLOWEST_S` and `MOST_BYTES` of
memory, without a traceback; where it is refused the message names the file. Changes are those of
``tests/lab/changed_files.py``, from seeds: bytes, bits, numbers, types, lines, the whole file.
`MAIN_KINDS` are changed ``--count`` times, the others ``--others`` times. What ends badly is
printed and kept in ``--keep``. With ``--write`` the table by kind replaces the committed
``validation/mutated_input.md``.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

import numpy as np
import raw_draws

from qdchar.cli import run
from qdchar.drivers import _line
from qdchar.errors import InstrumentError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.lab.changed_files import KINDS, arguments, changed, ended_well, refusal, sound_files

MAIN_KINDS = ("station", "recipe", "link", "record", "scan")
SLOWEST_S = 60  # processor time
MOST_BYTES = 4 << 30
PATIENCE_S = 600
"""For a worker that answers no signal, on a machine with other work."""
SEED = 1500

Task = tuple[str, int]
Ended = tuple[str, int, int, str]
"""Kind, case, exit code, and what is wrong."""
_DIED = -1


class _TooSlowError(BaseException):
    """A command took longer than `SLOWEST_S`."""


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlowError


def _refuse(*_: object) -> None:
    raise InstrumentError("nobody answers in this study")


def _one(kind: str, case: int, sound: dict[str, Path], folder: Path, keep: str) -> Ended:
    """Change a file and run its command."""
    file = folder / f"{kind}_{case}{sound[kind].suffix}"
    rng = np.random.default_rng([SEED, KINDS.index(kind), case])
    file.write_bytes(changed(kind, sound[kind].read_bytes(), rng))
    runs, out, err = folder / f"runs_{kind}_{case}", io.StringIO(), io.StringIO()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST_S)
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments(kind, file, sound, runs))
    except _TooSlowError:  # while the outcome was being told
        code = 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        shutil.rmtree(runs, ignore_errors=True)
    wrong = ""
    if not ended_well(code, err.getvalue()):
        wrong = f"exit {code}: {err.getvalue()[-300:]}"
    elif code == refusal(kind) and file.name not in err.getvalue():
        wrong = f"the file is not named: {err.getvalue()[-300:]}"
    if wrong and keep:
        shutil.copy(file, keep)
    file.unlink()
    return kind, case, code, wrong


def _work(
    tasks: Sequence[Task], sound: dict[str, Path], folder: Path, keep: str, to: Connection
) -> None:
    """Be a worker: change files and send how their commands ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGVTALRM, _too_slow)
    _line._connected = _refuse  # type: ignore[assignment]
    for kind, case in tasks:
        to.send(_one(kind, case, sound, folder, keep))


@dataclass
class _Worker:
    tasks: list[Task]
    process: multiprocessing.context.ForkProcess
    results: Connection
    heard: float


def _ends(
    shares: Sequence[list[Task]], sound: dict[str, Path], folder: Path, keep: str
) -> Iterator[Ended]:
    """Yield how the commands ended, each share in a process that is replaced where it dies."""
    context = multiprocessing.get_context("fork")

    def begin(tasks: list[Task]) -> _Worker:
        results, to = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(tasks, sound, folder, keep, to))
        process.start()
        to.close()
        return _Worker(tasks, process, results, time.monotonic())

    workers = [begin(tasks) for tasks in shares if tasks]
    while workers:
        ready = wait([w.results for w in workers], timeout=10.0)
        for worker in list(workers):
            if worker.results in ready:
                try:
                    yield worker.results.recv()
                    del worker.tasks[0]
                    worker.heard = time.monotonic()
                    continue
                except EOFError:
                    worker.process.join()
            elif time.monotonic() - worker.heard > PATIENCE_S:
                worker.process.kill()
                worker.process.join()
            else:
                continue
            workers.remove(worker)
            if worker.tasks:
                kind, case = worker.tasks.pop(0)
                yield kind, case, _DIED, f"the process ended with {worker.process.exitcode}"
            if worker.tasks:
                workers.append(begin(worker.tasks))


def main() -> int:
    """Run the study; returns 1 if a file ended badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="files of each main kind")
    parser.add_argument("--others", type=int, default=500, help="files of each other kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--keep", default="", help="folder for the files that end badly")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    codes: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    bad: Counter[str] = Counter()
    begun, made_by = time.monotonic(), raw_draws.tree()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = sound_files(folder)
        tasks = [
            (kind, case)
            for kind in kinds
            for case in range(options.count if kind in MAIN_KINDS else options.others)
        ]
        shares = [tasks[k :: options.processes] for k in range(options.processes)]
        for kind, case, code, wrong in _ends(shares, sound, folder, options.keep):
            codes[kind][code] += 1
            if wrong:
                bad[kind] += 1
                print(f"BAD {kind} {case}: {wrong}", flush=True)
    every = sorted({code for counter in codes.values() for code in counter})
    lines = [
        "# How commands end on changed input files",
        "",
        f"Written by `python validation/mutated_input.py --count {options.count} --others "
        f"{options.others} --write`. Seed {SEED}; tree: {made_by}. Files by kind and exit code; "
        f"bad: a traceback, exit code 1, more than {SLOWEST_S} s of processor time or "
        f"{MOST_BYTES >> 30} GiB, a process that died, or a refusal that does not name the file.",
        "",
        "| kind | files | " + " | ".join(f"exit {c}" for c in every) + " | bad |",
        "|---" * (len(every) + 3) + "|",
    ]
    for kind in kinds:
        counts = " | ".join(str(codes[kind][c]) for c in every)
        lines.append(f"| {kind} | {sum(codes[kind].values())} | {counts} | {bad[kind]} |")
    text = "\n".join([*lines, ""])
    print(text)
    print(f"{time.monotonic() - begun:.0f} s")
    if options.write:
        (raw_draws.HERE / "mutated_input.md").write_text(text, encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
