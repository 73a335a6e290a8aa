"""One program's answers to the benchmark's questions; runs under that program's own Python.

Started by ``tags.py`` as ``python tags_peers.py PROGRAM FOLDER``. Reads lines ``TASK CASE RANGE_PS
BIN_PS`` and answers each with ``SECONDS RESULT``: processor time of this process, and pairs or
clicks found, so that all can be seen to have counted the same.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Answer = Callable[[str, str, int, int], int]
PERIOD_PS = 1e12 / 76.13e6


class Streams:
    """The streams of the benchmark, loaded when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._case = ""
        self._arrays: tuple[np.ndarray, ...] = ()

    def arrays(self, case: str) -> tuple[np.ndarray, ...]:
        """Times on A, times on B, all times, all channels."""
        if case != self._case:
            times = np.load(self.folder / f"{case}_times.npy")
            channels = np.load(self.folder / f"{case}_channels.npy")
            self._arrays = (times[channels == 0], times[channels == 1], times, channels)
            self._case = case
        return self._arrays

    def file(self, case: str, mode: str) -> Path:
        return self.folder / f"{case}_{mode}.ptu"


def qdchar(streams: Streams) -> Answer:
    from qdchar.tags import PulseClock, TagArrays, cross_correlation, folded_histogram, open_tags
    from qdchar.tags.counting.correlation import pair_histogram
    from qdchar.tags.formats.ptu import PtuFile

    merged: dict[str, TagArrays] = {}

    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        if task == "file":
            source = open_tags(streams.file(case, "T2"))
            return int(
                cross_correlation(source, 0, 1, bin_ps=bin_ps, range_ps=range_ps).counts.sum()
            )
        if task == "decay":
            return int(PtuFile(streams.file(case, "T3")).decay(0).counts.sum())
        a, b, times, channels = streams.arrays(case)
        if task == "arrays":
            n_bins = 2 * range_ps // bin_ps
            counts = pair_histogram(a, b, start_ps=-range_ps, bin_ps=bin_ps, n_bins=n_bins)
            return int(counts.sum())
        if case not in merged:
            merged.clear()
            merged[case] = TagArrays(times, channels, start_ps=0)
        if task == "merged":
            source = merged[case]
            return int(
                cross_correlation(source, 0, 1, bin_ps=bin_ps, range_ps=range_ps).counts.sum()
            )
        folded = folded_histogram(merged[case], 0, PulseClock(PERIOD_PS), n_bins=1024)
        return int(folded.counts.sum())

    return answer


def trattoria(streams: Streams) -> Answer:
    import trattoria as program

    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        if task == "decay":
            asked = program.LifetimeParameters(channel_sync=0, channel_source=1, resolution=16e-12)
            file = program.PTUFile(streams.file(case, "T3"))
            return int(file.lifetime(asked).g2.sum())
        asked = program.G2Parameters(1, 2, range_ps * 1e-12, bin_ps * 1e-12, None)
        return int(program.PTUFile(streams.file(case, "T2")).g2(asked).g2.sum())

    return answer


def ptufile(streams: Streams) -> Answer:
    from ptufile import PtuFile

    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        with PtuFile(streams.file(case, "T3")) as file:
            return int(file.decode_histogram(dtime=1024)[0].sum())

    return answer


def pytimetag(streams: Streams) -> Answer:
    from pytimetag.analysers.HistogramAnalyser import analysisOneListJIT as histogram

    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        a, b, _, _ = streams.arrays(case)
        return int(histogram(a, b, -range_ps, range_ps, 2 * range_ps // bin_ps, 1).sum())

    return answer


def numpy(streams: Streams) -> Answer:
    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        a, b, _, _ = streams.arrays(case)
        total = np.zeros(2 * range_ps // bin_ps, np.int64)
        for begin in range(0, len(a), 1 << 20):
            part = a[begin : begin + (1 << 20)]
            first = np.searchsorted(b, part - range_ps)
            last = np.searchsorted(b, part + range_ps)
            each = last - first
            of = np.repeat(np.arange(len(part)), each)
            which = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each) + first[of]
            bins = (b[which] - part[of] + range_ps) // bin_ps
            total += np.bincount(bins, minlength=len(total))
        return int(total.sum())

    return answer


def c_bound(streams: Streams) -> Answer:
    library = ctypes.CDLL(str(streams.folder / "bound.so"))
    enumerate_pairs = library.enumerate_pairs
    enumerate_pairs.restype = ctypes.c_int64
    long = ctypes.c_int64

    def answer(task: str, case: str, range_ps: int, bin_ps: int) -> int:
        a, b, _, _ = streams.arrays(case)
        enumerate_pairs(
            ctypes.c_void_p(a.ctypes.data), long(len(a)), ctypes.c_void_p(b.ctypes.data),
            long(len(b)), long(-range_ps), long(range_ps),
        )  # fmt: skip
        return 0

    return answer


PROGRAMS = {f.__name__: f for f in (qdchar, trattoria, ptufile, pytimetag, numpy, c_bound)}


def main() -> None:
    streams = Streams(Path(sys.argv[2]))
    answer = PROGRAMS[sys.argv[1]](streams)
    print("ready", flush=True)
    for line in sys.stdin:
        task, case, range_ps, bin_ps = line.split()
        if task in ("arrays", "merged", "fold"):
            streams.arrays(case)
        begun = time.process_time()
        result = answer(task, case, int(range_ps), int(bin_ps))
        print(time.process_time() - begun, result, flush=True)


if __name__ == "__main__":
    main()
