"""Photon-HDF5 of a TCSPC card: macro time counts pulses, nanotimes the time after them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.analysis import lifetime
from qdchar.cli import run as qdchar
from qdchar.cli.info import info
from qdchar.errors import RecordError
from qdchar.tags import TagWriter, open_tags

UNIT_S, STEP_S = 12.5e-9, 16e-12


def _clicks(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pulse number, nanotime and detector of clicks that decay with 0.9 ns."""
    pulse = np.sort(rng.integers(0, 10**7, n))
    after = rng.exponential(0.9e-9, n) + rng.normal(1.5e-9, 50e-12, n)
    nano = (after % UNIT_S / STEP_S).astype(np.uint16)
    return pulse, nano, rng.integers(0, 2, n).astype(np.uint8)


def _write(
    file: Path,
    pulse: np.ndarray,
    nano: np.ndarray,
    detector: np.ndarray,
    *,
    step_s: float = STEP_S,
    rate_Hz: float | None = None,
) -> Path:
    with h5py.File(file, "w") as out:
        data = out.create_group("photon_data")
        data["timestamps"], data["nanotimes"], data["detectors"] = pulse, nano, detector
        data["timestamps_specs/timestamps_unit"] = UNIT_S
        data["nanotimes_specs/tcspc_unit"] = step_s
        data["nanotimes_specs/tcspc_num_bins"] = 760
        if rate_Hz is not None:
            data["measurement_specs/laser_repetition_rate"] = rate_Hz
    return file


def test_times_are_pulse_plus_nanotime(tmp_path: Path) -> None:
    """Clicks after one pulse stand in any order in the file."""
    pulse, nano = np.array([0, 7, 7, 9]), np.array([3, 500, 20, 0], np.uint16)
    source = open_tags(_write(tmp_path / "a.hdf5", pulse, nano, np.array([0, 1, 0, 1], np.uint8)))
    chunk = next(source.chunks())
    assert chunk.times_ps.tolist() == [48, 87_820, 95_500, 112_500]
    assert chunk.channels.tolist() == [0, 0, 1, 1]
    assert (source.resolution_ps, source.metadata.sync_period_ps) == (16.0, 12_500.0)
    assert (source.start_ps, source.stop_ps) == (0, 125_000)


@pytest.mark.parametrize("suffix", [".h5", ".ptu"])
def test_lifetime_before_and_after_a_conversion(tmp_path: Path, suffix: str) -> None:
    file = _write(tmp_path / "a.hdf5", *_clicks(np.random.default_rng(1), 60_000))
    other = tmp_path / f"b{suffix}"
    assert qdchar(["convert", str(file), str(other)]) == 0
    first, second = (np.concatenate([c.times_ps for c in open_tags(f).chunks()])
                     for f in (file, other))  # fmt: skip
    # a PTU file counts from the beginning of the time covered, here a whole number of pulses
    assert np.array_equal(first - first[0], second - second[0])
    assert (first[0] - second[0]) % 12_500 == 0
    t1 = lifetime.analyse_file(other)["lifetime"]
    assert t1.value == pytest.approx(0.9e-9, abs=4 * t1.u)
    assert t1.u < 10e-12
    text = CliRunner().invoke(info, [str(file)], standalone_mode=False).output
    assert "with nanotimes" in text
    assert "12.500000 ns" in text
    assert "16 ps" in text


def test_what_would_be_lost_is_refused(tmp_path: Path) -> None:
    clicks = _clicks(np.random.default_rng(2), 1000)
    # the macro time counts another clock than the laser's pulses
    other_clock = _write(tmp_path / "clock.hdf5", *clicks, rate_Hz=40e6)
    assert "not used" in open_tags(other_clock).warnings[0]
    assert qdchar(["convert", str(other_clock), str(tmp_path / "x.h5")]) == 2
    odd_step = _write(tmp_path / "step.hdf5", *clicks, step_s=15.26e-12)
    assert qdchar(["convert", str(odd_step), str(tmp_path / "x.ptu")]) == 2
    assert qdchar(["convert", str(odd_step), str(tmp_path / "x.h5")]) == 0


def test_damaged_nanotimes_are_named(tmp_path: Path) -> None:
    pulse, nano, detector = _clicks(np.random.default_rng(3), 100)
    with pytest.raises(RecordError, match="99 nanotimes for 100"):
        open_tags(_write(tmp_path / "short.hdf5", pulse, nano[:-1], detector))
    with pytest.raises(RecordError, match="tcspc_unit"):
        open_tags(_write(tmp_path / "unit.hdf5", pulse, nano, detector, step_s=1.0))


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_phconvert_writes(tmp_path: Path) -> None:
    phconvert = pytest.importorskip("phconvert", reason="phconvert is not installed")
    pulse, nano, detector = _clicks(np.random.default_rng(4), 1000)
    file = tmp_path / "theirs.hdf5"
    content = {
        "_filename": str(file),
        "description": "simulated",
        "photon_data": {
            "timestamps": pulse,
            "timestamps_specs": {"timestamps_unit": UNIT_S},
            "detectors": detector,
            "nanotimes": nano,
            "nanotimes_specs": {"tcspc_unit": STEP_S, "tcspc_num_bins": 781},
        },
    }
    phconvert.hdf5.save_photon_hdf5(
        content, h5_fname=str(file), overwrite=True, close=True, require_setup=False
    )
    ours = np.concatenate([c.times_ps for c in open_tags(file).chunks()])
    assert np.array_equal(ours, np.sort(pulse * 12_500 + nano.astype(np.int64) * 16))


_NUMBERS = ("timestamps_specs/timestamps_unit", "nanotimes_specs/tcspc_unit", "user/qdchar/span_ps")


@pytest.mark.parametrize("rate_Hz", [0.0, -80e6, np.nan])
def test_a_rate_that_no_laser_has_is_named(rate_Hz: float, tmp_path: Path) -> None:
    file = _write(tmp_path / "t.h5", *_clicks(np.random.default_rng(1), 100), rate_Hz=rate_Hz)
    with pytest.raises(RecordError, match="laser_repetition_rate"):
        open_tags(file)


@pytest.mark.parametrize("what", ["group", "text", "complex", "pair", "claims 7 PiB"])
@pytest.mark.parametrize("name", ["timestamps", "detectors", "nanotimes", *_NUMBERS])
def test_an_item_of_another_kind_is_named(name: str, what: str, tmp_path: Path) -> None:
    """Such as a group where a row is meant, or one number that claims 10^15."""
    file = _write(tmp_path / "t.h5", *_clicks(np.random.default_rng(1), 100))
    if name.startswith("user"):
        with TagWriter(file := tmp_path / "own.h5", resolution_ps=1.0) as writer:
            writer.append(np.arange(5), np.zeros(5, np.uint8))
    place = name if name.startswith("user") else f"photon_data/{name}"
    with h5py.File(file, "a") as out:
        del out[place]
        if what == "group":
            out.create_group(place)
        elif what == "claims 7 PiB":
            out.create_dataset(place, shape=(10**15,), dtype="i8", chunks=(1000,))
        else:
            out[place] = {"text": b"abc", "complex": 1j, "pair": np.zeros((2, 2))}[what]
    with pytest.raises(RecordError, match=name.rpartition("/")[2]):
        open_tags(file)
