"""Change input files at random, and see how the command ends that reads them.

    python validation/mutated_input.py --count 2000 --write

Each changed file must end with an exit code of its own, within `SLOWEST_S` and `MOST_BYTES` of
memory, without a traceback; where it is refused the message names the file. Changes are those of
``tests/lab/test_bad_input.py``, from seeds. What ends badly is printed and kept in ``--keep``. With
``--write`` the table by kind replaces the committed ``validation/mutated_input.md``.
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
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import raw_draws

from qdchar.cli import run
from qdchar.drivers import _line
from qdchar.errors import InstrumentError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.lab.test_bad_input import KINDS, arguments, ended_well, mutated, sound_files

SLOWEST_S = 30
MOST_BYTES = 4 << 30
SEED = 1500


def _refuse(*_: object) -> None:
    raise InstrumentError("nobody answers in this study")


def one(task: tuple[str, int, str, str]) -> tuple[str, int, int, str]:
    """Change a file and run its command; returns kind, case, exit code, and what is wrong."""
    kind, case, folder, keep = task
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    _line._connected = _refuse  # type: ignore[assignment]
    sound = {k: Path(folder) / f"{k}.txt" for k in KINDS}
    changed = Path(folder) / f"{kind}_{case}.txt"
    rng = np.random.default_rng([SEED, KINDS.index(kind), case])
    changed.write_bytes(mutated(sound[kind].read_bytes(), rng))
    runs, out, err = Path(folder) / f"runs_{kind}_{case}", io.StringIO(), io.StringIO()
    signal.alarm(SLOWEST_S + 10)  # ends the process, and with it the study, if Python is stuck
    begun = time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(arguments(kind, changed, sound, runs))
    signal.alarm(0)
    shutil.rmtree(runs, ignore_errors=True)
    wrong = ""
    if not ended_well(code, err.getvalue()):
        wrong = f"exit {code}: {err.getvalue()[-300:]}"
    elif time.monotonic() - begun > SLOWEST_S:
        wrong = "too slow"
    elif code == (30 if kind in ("record", "scan") else 2) and changed.name not in err.getvalue():
        wrong = f"the file is not named: {err.getvalue()[-300:]}"
    if wrong and keep:
        shutil.copy(changed, keep)
    changed.unlink()
    return kind, case, code, wrong


def main() -> int:
    """Run the study; returns 1 if a file ended badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="files of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--keep", default="", help="folder for the files that end badly")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    codes: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    bad: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        sound_files(Path(folder))
        tasks = [(k, case, folder, options.keep) for k in kinds for case in range(options.count)]
        with multiprocessing.get_context("fork").Pool(options.processes) as pool:
            for kind, case, code, wrong in pool.imap_unordered(one, tasks, chunksize=8):
                codes[kind][code] += 1
                if wrong:
                    bad[kind] += 1
                    print(f"BAD {kind} {case}: {wrong}", flush=True)
    every = sorted({code for counter in codes.values() for code in counter})
    lines = [
        "# How commands end on changed input files",
        "",
        f"Written by `python validation/mutated_input.py --count {options.count} --write`. "
        f"Tree: {raw_draws.tree()}. Files by kind and exit code; bad: a traceback, exit code 1, "
        f"more than {SLOWEST_S} s, or a message that does not name the file.",
        "",
        "| kind | files | " + " | ".join(f"exit {c}" for c in every) + " | bad |",
        "|---" * (len(every) + 3) + "|",
    ]
    for kind in kinds:
        counts = " | ".join(str(codes[kind][c]) for c in every)
        lines.append(f"| {kind} | {sum(codes[kind].values())} | {counts} | {bad[kind]} |")
    text = "\n".join([*lines, ""])
    print(text)
    if options.write:
        (raw_draws.HERE / "mutated_input.md").write_text(text, encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
