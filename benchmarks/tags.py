"""Time-tag kernels against other programs, on the same streams, in turns.

    python benchmarks/tags.py --folder /somewhere/large [--cases mid20 hi20 lo20 mid100]

Makes the streams and one environment for the peers and one for pytimetag (GPL: run beside ours as
a yardstick, never imported by it), then asks each program each question several times, program
after program, so that a disturbance of the machine hits all. Figures are million tags a second
of processor time, medians; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).with_name("tags_peers.py")
PERIOD_PS = 1e12 / 76.13e6
# tags, clicks per second and channel
STREAMS = {
    "mid20": (20_000_000, 2e6),
    "hi20": (20_000_000, 8e6),
    "lo20": (20_000_000, 0.2e6),
    "mid100": (100_000_000, 4e6),
}
# stream, range and bin [ps]
CASES = (
    ("mid20", 100_000, 100),
    ("mid20", 1_000_000, 100),
    ("hi20", 100_000, 50),
    ("hi20", 1_000_000, 100),
    ("lo20", 1_000_000, 100),
    ("mid100", 100_000, 100),
)
BOUND = """
#include <stdint.h>
int64_t enumerate_pairs(const int64_t *a, int64_t na, const int64_t *b, int64_t nb,
                        int64_t low, int64_t high) {
  int64_t first = 0, sum = 0;
  for (int64_t i = 0; i < na; i++) {
    const int64_t begin = a[i] + low, end = a[i] + high;
    while (first < nb && b[first] < begin) first++;
    for (int64_t j = first; j < nb && b[j] < end; j++) sum += b[j] - begin;
  }
  return sum;
}
"""


def make_stream(case: str, folder: Path) -> None:
    """Photons of a pulsed source on two detectors: arrays, a T2 and (first case) a T3 file."""
    from qdchar.tags import TagArrays
    from qdchar.tags.formats.ptu_writer import write_ptu

    times_file = folder / f"{case}_times.npy"
    if times_file.exists():
        return
    n, rate = STREAMS[case]
    rng = np.random.default_rng(1)
    pulses = np.cumsum(rng.geometric(2 * rate * PERIOD_PS * 1e-12, n))
    times = (pulses * PERIOD_PS + rng.exponential(76, n) + rng.normal(0, 25, n) + 1_000).astype(
        np.int64
    )
    np.maximum.accumulate(times, out=times)
    channels = rng.integers(0, 2, n, dtype=np.uint8)
    source = TagArrays(times, channels, start_ps=0)
    for mode in ("T2", "T3") if case == "mid20" else ("T2",):
        target = folder / f"{case}_{mode}.ptu"
        target.unlink(missing_ok=True)
        write_ptu(
            target, source, mode=mode, sync_period_ps=PERIOD_PS, unit_ps=16 if mode == "T3" else 1
        )  # type: ignore[arg-type]
    np.save(folder / f"{case}_channels.npy", channels)
    np.save(times_file, times)


def environment(folder: Path, *packages: str) -> Path:
    """Make a virtual environment with these packages; give its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", *packages],
            check=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
    return python


class Program:
    """A program under test, in a process of its own."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, str(PEERS), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT) if name == "qdchar" else ""},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} does not start under {python}")

    def ask(self, task: str, case: str, range_ps: int, bin_ps: int) -> tuple[float, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(task, case, range_ps, bin_ps, file=self._process.stdin, flush=True)
        seconds, result = self._process.stdout.readline().split()
        return float(seconds), int(result)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(
    programs: list[Program], task: str, case: str, range_ps: int, bin_ps: int, rounds: int
) -> dict[str, float]:
    """Million tags a second of each program; all must find the same."""
    times: dict[str, list[float]] = {p.name: [] for p in programs}
    results: dict[str, int] = {}
    for round_ in range(rounds + 1):
        for program in programs:
            if program.name == "numpy" and round_ > 1:
                continue  # slow, and only there for scale
            seconds, results[program.name] = program.ask(task, case, range_ps, bin_ps)
            if round_ > 0:  # the first compiles, and warms caches
                times[program.name].append(seconds)
    different = {n: r for n, r in results.items() if n != "c_bound" and r != results["qdchar"]}
    for name, result in different.items():
        print(f"    {name} finds {result}, qdchar {results['qdchar']}")
    n = STREAMS[case][0]
    return {name: n / statistics.median(t) * 1e-6 for name, t in times.items()}


def row(what: str, speeds: dict[str, float]) -> None:
    ours = speeds.pop("qdchar")
    peers = "  ".join(f"{name} {speed:.0f} (x{ours / speed:.2f})" for name, speed in speeds.items())
    print(f"{what:<32}qdchar {ours:6.0f}   {peers}", flush=True)


def memory(folder: Path, case: str) -> None:
    """Peak memory above the imports, for the file and for one four times as long."""
    # Linux: the peak is reset after the imports, which themselves take and give back memory
    code = (
        "import sys\n"
        "import qdchar.tags.correlation, qdchar.tags.ptu\n"
        "from qdchar.tags import cross_correlation, open_tags\n"
        "def status(field):\n"
        "    for line in open('/proc/self/status'):\n"
        "        if line.startswith(field):\n"
        "            return int(line.split()[1]) / 1024\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "before = status('VmRSS')\n"
        "cross_correlation(open_tags(sys.argv[1]), 0, 1, bin_ps=100, range_ps=100_000)\n"
        "print(round(status('VmHWM') - before))\n"
    )
    short = folder / f"{case}_T2.ptu"
    long = folder / f"{case}_T2_four_times.ptu"
    if not long.exists():
        from qdchar.tags.formats.ptu_header import TAG, read_header

        header = read_header(short)
        data = short.read_bytes()
        head = bytearray(data[: header.offset])
        for name, value in (
            (b"TTResult_NumberOfRecords", 4 * header.claimed_records),
            (b"TTResult_StopAfter", 4 * round((header.acquired_s or 0) * 1e3)),
        ):
            at = head.index(name)
            head[at : at + TAG.size] = TAG.pack(name, -1, 0x10000008, value.to_bytes(8, "little"))
        with long.open("wb") as file:
            file.write(head)
            for _ in range(4):
                file.write(data[header.offset :])
    for path in (short, long):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        size = path.stat().st_size / 1e6
        print(f"memory above imports, {size:6.0f} MB file: {done.stdout.strip()} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for streams, environments")
    parser.add_argument("--cases", nargs="+", choices=list(STREAMS), default=list(STREAMS))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for case in given.cases:
        make_stream(case, folder)
    (folder / "bound.c").write_text(BOUND)
    subprocess.run(
        [
            "cc",
            "-O3",
            "-march=native",
            "-shared",
            "-fPIC",
            "-o",
            folder / "bound.so",
            folder / "bound.c",
        ],
        check=True,
    )
    peers = environment(folder / "peers", "numpy", "trattoria", "ptufile")
    gpl = environment(folder / "gpl", "numpy", "pytimetag")
    here = Path(sys.executable)
    ours = Program("qdchar", here, folder)
    from_file = [ours, Program("trattoria", peers, folder)]
    from_arrays = [
        ours,
        Program("pytimetag", gpl, folder),
        Program("c_bound", here, folder),
        Program("numpy", here, folder),
    ]
    decays = [ours, from_file[1], Program("ptufile", peers, folder)]
    for case, range_ps, bin_ps in CASES:
        if case not in given.cases:
            continue
        what = f"{case} +-{range_ps // 1000} ns / {bin_ps} ps"
        asked = (case, range_ps, bin_ps, given.rounds)
        row(f"file   {what}", compare(from_file, "file", *asked))
        row(f"arrays {what}", compare(from_arrays, "arrays", *asked))
        row(f"merged {what}", compare([ours], "merged", *asked))
    if "mid20" in given.cases:
        row("decay  mid20 T3", compare(decays, "decay", "mid20", 0, 16, given.rounds))
        row("fold   mid20", compare([ours], "fold", "mid20", 0, 16, given.rounds))
    for program in {*from_file, *from_arrays, *decays}:
        program.close()
    if "mid100" in given.cases:
        memory(folder, "mid100")


if __name__ == "__main__":
    main()
