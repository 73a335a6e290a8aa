"""Whatever stands in a file or an argument, it ends with a message and an exit code of its own.

Sound files are changed at random, from seeds: bytes, numbers, lines. Thousands of them are tried by
``python validation/mutated_input.py``.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis.brightness import photon_numbers
from qdchar.cli import run
from qdchar.drivers import _line
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import InstrumentError, RecordError
from qdchar.estimate import Contribution, Estimate
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.raw_data import read_scan
from qdchar.record import make_record

CASES = 40
KINDS = ("station", "recipe", "link", "record", "scan")
_LINK = """\
channel_loss = { value = 14.6, u = 0.3 }
detector_efficiency = 0.712
dark_count_rate = { value = 43.0, u = 2.0 }
receiver = "passive"
block = 1e8
"""
_NUMBERS = [
    *(b"nan", b"inf", b"-inf", b"1e400", b"-1e400", b"1e-400", b"0", b"-1", b"1e15", b"1e308"),
    *(b"9" * 5000, b"0x" + b"f" * 5000, b"-" + b"9" * 4000, b"9" * 400, b"9223372036854775808"),
    *(b"true", b"null", b'"text"', b"[]", b"{}", b"[" * 3000, b"{a=" * 3000, b'{"a":' * 3000),
    *(b"", b"1_0", b"1__0", b"0.1.2", b"1979-05-27T07:32:00Z", b'"\xb5"', b'"\xc2\xb5"'),
]
_BYTES = [b"\xb5", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b'"', b"'''", b"[", b"]]", b"{"]
_BYTES += [b"}", b",", b"=", b"#", b"\n", b"\xed\xa0\x80", b"\\u0000", b"\\ud800", b"env:HOME"]


def mutated(sound: bytes, rng: np.random.Generator) -> bytes:
    """Change a file at one to three places."""
    data = sound
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        match int(rng.integers(0, 7)):
            case 0:
                found = list(re.finditer(rb"(?<![\w.])-?\d[\d.e+-]*", data))
                if found:
                    one = found[int(rng.integers(0, len(found)))]
                    new = _NUMBERS[int(rng.integers(0, len(_NUMBERS)))]
                    data = data[: one.start()] + new + data[one.end() :]
            case 1:
                data = data[:at] + _BYTES[int(rng.integers(0, len(_BYTES)))] + data[at:]
            case 2:
                data = data[:at] + data[at + int(rng.integers(1, 40)) :]
            case 3:
                data = data[:at] + bytes(rng.integers(0, 256, 4, np.uint8)) + data[at + 4 :]
            case 4:
                lines = data.split(b"\n")
                lines.insert(
                    int(rng.integers(0, len(lines))), lines[int(rng.integers(0, len(lines)))]
                )
                data = b"\n".join(lines)
            case 5:
                found = list(re.finditer(rb'"[^"\n]*"', data))
                if found:
                    one = found[int(rng.integers(0, len(found)))]
                    new = [b'"x"', b'""', b'"tcp://[::1"', b'"tcp://x:99999"', b'"a:b"', b"3"]
                    data = data[: one.start()] + new[int(rng.integers(0, 6))] + data[one.end() :]
            case _:
                data = data[:at] if rng.random() < 0.2 else data[:at].rstrip() + data[at:]
    return data


def sound_files(folder: Path) -> dict[str, Path]:
    """Write one sound file of each kind."""
    folder.mkdir(exist_ok=True)
    texts = {
        "station": _station(),
        "recipe": _recipe(),
        "link": _LINK,
        "record": _record(),
        "scan": _scan(),
    }
    files = {}
    for kind, text in texts.items():
        files[kind] = folder / f"{kind}.txt"
        files[kind].write_text(text, encoding="utf-8")
    return files


def _station() -> str:
    with serve(Truth(), 1, None) as served:
        return station_toml(served)


def _recipe() -> str:
    lines = ['protocol = "efficient-bb84"', "valid_hours = 24.0", "min_rate_per_pulse = 1e-6"]
    lines += ["[limits.g2_zero]", "max = 0.05", "[min_advantage_dB]", "wcp-vacuum-weak-bb84 = -3.0"]
    for name, table in Recipe().complete(MEASUREMENTS).tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _record() -> str:
    clock = Estimate(name="clock_rate", value=76.13e6, method="clock")
    n = Estimate(
        name="mean_photon_number",
        value=0.292,
        method="brightness",
        budget=(Contribution("counts", 0.004),),
    )
    g2 = Estimate(
        name="g2_zero",
        value=0.00698,
        method="live gating",
        budget=(Contribution("pairs", 0.0003),),
    )
    record = make_record(
        [clock, n, g2, *photon_numbers(n, g2)],
        qdchar_version="0.1.0",
        source="QD7",
        station="lab 2",
        simulated=False,
        valid_for=timedelta(days=36_500),
        tuning={"cavity_fine_V": 10.46, "light_path": "after"},
    )
    return record.model_dump_json(by_alias=True, indent=1) + "\n"


def _scan() -> str:
    x = np.linspace(0.5, 20.0, 40)
    counts = np.rint(2e4 * np.sin(np.pi / 2 * np.sqrt(x / 6.0)) ** 2 + 50).astype(int)
    rows = [f"{1e-9 * p!r},{c},{c + 9},0.1" for p, c in zip(x.tolist(), counts, strict=True)]
    return "\n".join(["power_W,clicks_a,clicks_b,dwell_s", *rows]) + "\n"


def arguments(kind: str, changed: Path, sound: dict[str, Path], out: Path) -> list[str]:
    """Return the command that reads a file of this kind."""
    if kind == "record":
        return ["keyrate", str(changed), "--loss", "14.6", "--json"]
    if kind == "scan":
        return ["fit", "rabi", str(changed), "--json"]
    files = {**sound, kind: changed}
    names = [("--station", "station"), ("--recipe", "recipe"), ("--link", "link")]
    options = [word for option, name in names for word in (option, str(files[name]))]
    return ["calibrate", *options, "--out", str(out), "--json"]


def ended_well(code: int, told: str) -> bool:
    """Tell whether a command ended with a code of its own and said why."""
    return code in (0, 2, 10, 11, 20, 21, 30) and "Traceback" not in told


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sound_files(tmp_path_factory.mktemp("sound"))


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InstrumentError("nobody answers in this test")

    monkeypatch.setattr(_line, "_connected", refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sound_files_are_sound(kind: str, sound: dict[str, Path], tmp_path: Path) -> None:
    code = run(arguments(kind, sound[kind], sound, tmp_path / "runs"))
    assert code == (0 if kind in ("record", "scan") else 20)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_ends_with_a_message(
    kind: str, sound: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng([15, KINDS.index(kind)])
    data = sound[kind].read_bytes()
    for case in range(CASES):
        changed = tmp_path / f"{case}.txt"
        changed.write_bytes(mutated(data, rng))
        if kind == "scan" and case % 8:  # the fit takes its time
            with suppress(RecordError):
                read_scan(changed)
            continue
        code = run(arguments(kind, changed, sound, tmp_path / "runs"))
        out, err = capfd.readouterr()
        assert ended_well(code, err), f"{changed}: exit {code}\n{err[-2000:]}"
        assert json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["folder", "fifo", "device", "missing", "latin-1"])
def test_what_is_no_text_file_is_refused_at_once(
    kind: str, what: str, sound: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd"
    if what == "folder":
        odd.mkdir()
    elif what == "fifo":
        os.mkfifo(odd)
    elif what == "device":
        odd = Path("/dev/zero")
    elif what == "latin-1":
        odd.write_bytes("# 3 µW\n".encode("latin-1") + sound[kind].read_bytes())
    code = run(arguments(kind, odd, sound, tmp_path / "runs"))
    told = capfd.readouterr().err
    assert code == (30 if kind in ("record", "scan") else 2), told
    says = {"folder": "a folder", "fifo": "a FIFO", "device": "a device", "latin-1": "line 1"}
    if what in says and not (kind == "record" and what == "folder"):
        assert says[what] in told
