"""Damage tag files in every way that comes to mind, and see what the readers do.

A reader may refuse a file (RecordError) or accept it; what it accepts must equal an independent
decoding of the same bytes. It may not crash, hang, or take much memory. Run alone for a long run::

    python tests/tags/fuzz.py --files 20000
"""

from __future__ import annotations

import argparse
import logging
import resource
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import ptufile

from qdchar.errors import RecordError
from qdchar.tags import SYNC_CHANNEL, TagArrays, TagSource, open_tags
from qdchar.tags.convert import write_hdf5
from qdchar.tags.formats.ptu import PtuFile
from qdchar.tags.formats.ptu_writer import write_ptu
from qdchar.tags.formats.qutag import MAGIC as QUTAG_MAGIC

SLOWEST_S = 20.0  # on a busy machine; a usual file takes milliseconds


def originals(folder: Path) -> list[Path]:
    """One small sound file of each format."""
    rng = np.random.default_rng(1)
    gaps = np.where(rng.random(2_000) < 0.02, 10**9, rng.integers(0, 10**6, 2_000))
    source = TagArrays(np.cumsum(gaps), rng.choice([0, 1, 5], 2_000), start_ps=0)
    with_sync = TagArrays(np.cumsum(gaps), rng.choice([0, 1, SYNC_CHANNEL], 2_000), start_ps=0)
    paths = []
    for kind in ("HydraHarp2", "Generic", "TimeHarp 260P"):
        for mode, tags in (("T2", with_sync), ("T3", source)):
            path = folder / f"{kind}_{mode}.ptu"
            write_ptu(path, tags, mode=mode, kind=kind, sync_period_ps=12_500.25)  # type: ignore[arg-type]
            paths.append(path)
    for code in (0x00010203, 0x00010303):  # PicoHarp: the same header, its own records
        base = paths[0 if code == 0x00010203 else 1].read_bytes()
        at = base.index(b"TTResultFormat_TTTRRecType") + 40
        base = base[:at] + struct.pack("<q", code) + base[at + 8 :]
        end = base.index(b"Header_End") + 48
        records = rng.integers(0, 1 << 28, 2_000, dtype=np.uint32)
        channel = rng.choice([1, 2, 15], 2_000, p=[0.45, 0.45, 0.1]).astype(np.uint32)
        if code == 0x00010303:  # short dtimes, and overflows or markers
            records = (records & 0xFFFF) | ((records >> 16) % 780 << 16)
            records = np.where(channel == 15, records & 0xFFFF, records)
        else:
            records = np.where(channel == 15, records & ~np.uint32(0xF), np.sort(records))
        at = base.index(b"TTResult_NumberOfRecords") + 40
        base = base[:at] + struct.pack("<q", 2_000) + base[at + 8 :]
        at = base.index(b"TTResult_StopAfter") + 40
        base = base[:at] + bytes(8) + base[at + 8 :]
        path = folder / f"{code:#x}.ptu"
        path.write_bytes(base[:end] + (records | (channel << 28)).astype(np.uint32).tobytes())
        paths.append(path)
    chunk = next(source.chunks())
    table = np.zeros(len(chunk), [("t", "<i8"), ("c", "<u2")])
    table["t"], table["c"] = chunk.times_ps + 10**15, chunk.channels
    path = folder / "a.qutag"
    path.write_bytes(QUTAG_MAGIC + bytes(32) + table.tobytes())
    paths.append(path)
    paths.append(write_hdf5(folder / "a.h5", source))
    return paths


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to four places."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if len(out) < 16:
            break
        # headers are where a wrong bit does most
        limit = len(out) if rng.random() < 0.5 else min(len(out), 2_000)
        at = int(rng.integers(0, limit - 8))
        match int(rng.integers(0, 9)):
            case 0 | 1:
                out[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                out[at] = int(rng.integers(0, 256))
            case 3:
                number = int(rng.choice([0, -1, 1, 1 << 31, 1 << 62, -(1 << 63), 1 << 40]))
                out[at : at + 8] = struct.pack("<q", number)
            case 4:
                odd = float(rng.choice([np.nan, np.inf, 0.0, -1.0, 1e-300, 1e300, 1e-9]))
                out[at : at + 8] = struct.pack("<d", odd)
            case 5:
                del out[int(rng.integers(8, len(out))) :]
            case 6:
                del out[at : at + int(rng.integers(1, 64))]
            case 7:
                out[at:at] = rng.bytes(int(rng.integers(1, 64)))
            case 8:
                length = int(rng.integers(1, 256))
                out[at : at + length] = bytes(len(out[at : at + length]))
    return bytes(out)


def reference_ptu(source: PtuFile) -> tuple[np.ndarray, np.ndarray]:
    """Decode the records in plain numpy and Python integers."""
    header, kind = source.header, source.header.kind
    raw = np.fromfile(source.path, np.uint32, source.n_records, offset=header.offset).astype(
        np.int64
    )
    if kind.picoharp:
        channel = raw >> 28
        low = raw & (0xFFFF if kind.is_t3 else 0xFFFFFFF)
        dtime = (raw >> 16) & 0xFFF if kind.is_t3 else np.zeros_like(raw)
        over = (channel == 15) & ((dtime if kind.is_t3 else raw & 0xF) == 0)
        click = channel != 15
        adds = np.where(over, kind.wrap, 0)
        number = channel - kind.is_t3
    else:
        special, channel = raw >> 31, (raw >> 25) & 0x3F
        low = raw & (0x3FF if kind.is_t3 else 0x1FFFFFF)
        dtime = (raw >> 10) & 0x7FFF if kind.is_t3 else np.zeros_like(raw)
        over = (special == 1) & (channel == 63)
        adds = np.where(over, kind.wrap * (np.maximum(low, 1) if kind.counted else 1), 0)
        sync = (special == 1) & (channel == 0) & (not kind.is_t3)
        click = (special == 0) | sync
        number = np.where(sync, SYNC_CHANNEL, channel)
    units = (np.cumsum(adds) + low)[click]
    whole = int(header.global_ps)
    times = units * whole + np.ceil(units * (header.global_ps - whole)).astype(np.int64)
    times += dtime[click] * round(header.dtime_ps)
    order = np.argsort(times, kind="stable")
    return times[order], number[click][order]


def check_ptufile(source: PtuFile, times: np.ndarray) -> bool:
    """Compare with ptufile, where it opens the file; its products of overflows are 32 bits wide."""
    header, kind = source.header, source.header.kind
    try:
        with source.path.open("rb") as file, ptufile.PtuFile(file) as theirs:
            records = theirs.decode_records(theirs.read_records()[: source.n_records].copy())
            if len(records) != source.n_records:
                return False
    except Exception:
        return False
    raw = np.fromfile(source.path, np.uint32, source.n_records, offset=header.offset)
    if not kind.is_t3 and np.any((raw >= 0xFE000000) & ((raw & 0x1FFFFFF) > 127)):
        return False
    photons = records[records["channel"] >= 0]
    whole = int(header.global_ps)
    units = photons["time"].astype(np.int64)
    expected = units * whole + np.ceil(units * (header.global_ps - whole)).astype(np.int64)
    if kind.is_t3:
        expected += photons["dtime"].astype(np.int64) * round(header.dtime_ps)
    np.testing.assert_array_equal(times, np.sort(expected, kind="stable"))
    return True


def reference(source: TagSource, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode a file independently."""
    if isinstance(source, PtuFile):
        return reference_ptu(source)
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            times, channels = file["photon_data/timestamps"][:], file["photon_data/detectors"][:]
        n = min(len(times), len(channels))
        return times[:n], channels[:n]
    data = path.read_bytes()[40:]
    raw = np.frombuffer(data[: len(data) // 10 * 10], [("t", "<i8"), ("c", "<u2")])
    order = np.argsort(raw["t"], kind="stable")
    return raw["t"][order], raw["c"][order]


def fuzz(files: int, seed: int, folder: Path) -> Counter[str]:
    """Damage `files` files; count how they ended."""
    logging.getLogger("ptufile").setLevel(logging.CRITICAL)
    rng = np.random.default_rng(seed)
    sound = [(path.suffix, path.read_bytes()) for path in originals(folder)]
    ends: Counter[str] = Counter()
    for number in range(files):
        suffix, data = sound[number % len(sound)]
        path = folder / f"damaged{suffix}"
        path.write_bytes(damage(data, rng))
        begun = time.monotonic()
        try:
            source = open_tags(path)
            chunks = list(source.chunks(int(rng.choice([7, 500, 1 << 16]))))
            duration_s = source.duration_s
        except RecordError:
            ends[f"{suffix} refused"] += 1
            continue
        finally:
            assert time.monotonic() - begun < SLOWEST_S, f"file {number} of seed {seed} hangs"
        times = np.concatenate([c.times_ps for c in chunks] or [np.empty(0, np.int64)])
        channels = np.concatenate([c.channels for c in chunks] or [np.empty(0, np.uint8)])
        assert np.all(np.diff(times) >= 0), f"file {number} of seed {seed}, {suffix}"
        assert np.isfinite(duration_s)
        assert duration_s >= 0
        expected_times, expected_channels = reference(source, path)
        np.testing.assert_array_equal(times, expected_times, err_msg=f"file {number}, seed {seed}")
        np.testing.assert_array_equal(channels, expected_channels)
        ends[f"{suffix} accepted"] += 1
        if isinstance(source, PtuFile) and check_ptufile(source, times):
            ends["equal to ptufile"] += 1
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        ends = fuzz(given.files, given.seed, Path(folder))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for end, count in sorted(ends.items()):
        print(f"{end:<20}{count:>8}")
    print(f"memory grew by {grown:.0f} MB, compilation included")


if __name__ == "__main__":
    main()
