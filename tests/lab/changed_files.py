"""Sound input files of every kind, changes to them, and the commands that read them."""

from __future__ import annotations

import json
import re
import struct
from datetime import timedelta
from pathlib import Path

import numpy as np

from qdchar.analysis.brightness import photon_numbers
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import RecordError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.record import make_record
from qdchar.tags import TagArrays
from qdchar.tags.convert import write_hdf5
from qdchar.tags.formats.ptu_writer import write_ptu

TEXT_KINDS = ("station", "recipe", "link", "record", "scan", "session", "histogram")
KINDS = (*TEXT_KINDS, "ptu", "hdf5")
_USAGE = ("station", "recipe", "link", "session")
_LINK = """\
channel_loss = { value = 14.6, u = 0.3 }
detector_efficiency = 0.712
dark_count_rate = { value = 43.0, u = 2.0 }
receiver = "passive"
block = 1e8
"""
_SESSION = """\
light = "single-photon"
pulses_sent = 26_573_909_635
p_z = 0.97
attenuation = 0.87
p2_limit = 2.976e-4
eps_source = 1e-10
[counts]
sifted = 87_300_000
sifted_errors = 2_219_039
test = 300_000
test_errors = 7_626
crossed = 9_700_000
"""
_VALUES = [
    *(b"nan", b"inf", b"-inf", b"1e400", b"-1e400", b"1e-400", b"0", b"-1", b"1e15", b"1e308"),
    *(b"9" * 5000, b"0x" + b"f" * 5000, b"-" + b"9" * 4000, b"9" * 400, b"9223372036854775808"),
    *(b"true", b"null", b'"text"', b"[]", b"{}", b"[" * 3000, b"{a=" * 3000, b'{"a":' * 3000),
    *(b"", b"1_0", b"1__0", b"0.1.2", b"1979-05-27T07:32:00Z", b'"\xb5"', b'"\xc2\xb5"'),
    *(b"[1]", b"[[0.5]]", b'{"a": 1}', b"{a = 1}", b"'7'", b"NaN", b"-Infinity", b"1e-320"),
    *(b"\xd9\xa3", b"\xef\xbc\x93", b"\xe2\x88\x921", b"[" * 900 + b"]" * 900, b"false", b"-0.0"),
]
_STRINGS = [b'"x"', b'""', b'"tcp://[::1"', b'"tcp://x:99999"', b'"a:b"', b"3", b"[]", b"nan"]
_STRINGS += [b'"' + b"x" * 5000 + b'"', b'"\xf0\x9f\x98\x80"', b'"\\u0000"', b'"env:NONE"', b"{}"]
_BYTES = [b"\xb5", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b'"', b"'''", b"[", b"]]", b"{"]
_BYTES += [b"}", b",", b"=", b"#", b"\n", b"\xed\xa0\x80", b"\\u0000", b"\\ud800", b"env:HOME"]
_BYTES += [b"\x00" * 64, b"\xe2\x80\xae", b"\xc2\xa0", b"\x0c", b"\x1b[2J", b"\xe2\x80\xa8", b"-"]
_NUMBER = re.compile(rb"(?<![\w.])-?\d[\d.e+_-]*")
_STRING = re.compile(rb'"[^"\n]*"')
_VALUE = re.compile(rb"(?<=[=:] )[^\n,}]+")


def changed(kind: str, sound: bytes, rng: np.random.Generator) -> bytes:
    """Change a file of a kind at one to three places."""
    change = _changed_text if kind in TEXT_KINDS else _changed_binary
    data = sound
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = change(data, rng)
    return data


def _changed_text(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(data) + 1))
    # half of the changes leave the syntax sound, so that what is behind the parser is reached
    match int(rng.integers(-9, 12)):
        case -9 | -8 | -7 | -6 | 0:
            return _replaced(data, _NUMBER, _VALUES, rng)
        case -5 | -4 | 1:
            return _replaced(data, _STRING, _STRINGS, rng)
        case -3 | -2 | -1 | 2:  # a value of another type
            return _replaced(data, _VALUE, _VALUES, rng)
        case 3:
            return data[:at] + _BYTES[int(rng.integers(0, len(_BYTES)))] + data[at:]
        case 4:
            return data[:at] + data[at + int(rng.integers(1, 40)) :]
        case 5:
            return data[:at] + bytes(rng.integers(0, 256, 4, np.uint8)) + data[at + 4 :]
        case 6:
            return _bit_flipped(data, rng)
        case 7 | 8:
            return _lines_changed(data, rng)
        case 9:
            return data[:at]
        case 10:
            return data[:at].rstrip() + data[at:]
        case _:
            return _whole_changed(data, rng)


def _changed_binary(data: bytes, rng: np.random.Generator) -> bytes:
    if len(data) < 32:
        return data + bytes(8)
    # half of the changes in the header, where a wrong bit does most
    end = len(data) if rng.random() < 0.5 else min(len(data), 2000)
    at = int(rng.integers(0, end - 8))
    match int(rng.integers(0, 8)):
        case 0 | 1:
            return _bit_flipped(data, rng)
        case 2:
            number = int(rng.choice([0, -1, 1, 1 << 31, 1 << 62, -(1 << 63), 10**15]))
            return data[:at] + struct.pack("<q", number) + data[at + 8 :]
        case 3:
            odd = float(rng.choice([np.nan, np.inf, 0.0, -1.0, 1e-300, 1e300]))
            return data[:at] + struct.pack("<d", odd) + data[at + 8 :]
        case 4:
            return data[:at]
        case 5:
            return data[:at] + data[at + int(rng.integers(1, 64)) :]
        case 6:
            return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]
        case _:
            length = int(rng.integers(1, 256))
            return data[:at] + bytes(length) + data[at + length :]


def _replaced(
    data: bytes, what: re.Pattern[bytes], by: list[bytes], rng: np.random.Generator
) -> bytes:
    found = list(what.finditer(data))
    if not found:
        return data + by[int(rng.integers(0, len(by)))]
    one = found[int(rng.integers(0, len(found)))]
    return data[: one.start()] + by[int(rng.integers(0, len(by)))] + data[one.end() :]


def _bit_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return b"\x01"
    at = int(rng.integers(0, len(data)))
    return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(0, 8))]) + data[at + 1 :]


def _lines_changed(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    one, other = (int(k) for k in rng.integers(0, len(lines), 2))
    match int(rng.integers(0, 3)):
        case 0:
            lines.insert(one, lines[other])
        case 1:
            del lines[one]
        case _:
            lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _whole_changed(data: bytes, rng: np.random.Generator) -> bytes:
    match int(rng.integers(0, 8)):
        case 0:
            return b""
        case 1:
            return b"\xef\xbb\xbf" + data
        case 2:
            return data.replace(b"\n", b"\r\n")
        case 3:
            return data.replace(b"\n", b"\r")
        case 4:
            return data.decode("latin-1").encode("utf-16")
        case 5:
            return bytes(len(data))
        case 6:
            return data + data
        case _:
            return data + b"\x00" * 100


def sound_files(folder: Path) -> dict[str, Path]:
    """Write one sound file of each kind."""
    folder.mkdir(exist_ok=True)
    texts = {
        "station": _station(),
        "recipe": _recipe(),
        "link": _LINK,
        "record": _record(),
        "scan": _scan(),
        "session": _SESSION,
        "histogram": _histogram(),
    }
    files = {}
    for kind, text in texts.items():
        files[kind] = folder / f"{kind}.txt"
        files[kind].write_text(text, encoding="utf-8")
    rng = np.random.default_rng(1)
    times = np.cumsum(np.where(rng.random(500) < 0.02, 10**9, rng.integers(0, 10**6, 500)))
    tags = TagArrays(times, rng.choice([0, 1], 500), start_ps=0)
    files["ptu"], files["hdf5"] = folder / "tags.ptu", folder / "tags.h5"
    write_ptu(files["ptu"], tags, mode="T3", kind="HydraHarp2", sync_period_ps=12_500.25)
    write_hdf5(files["hdf5"], tags)
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
    x = np.linspace(0.5, 20.0, 20)
    counts = np.rint(2e4 * -np.expm1(-x / 6.0) + 50).astype(int)
    rows = [f"{1e-9 * p!r},{c},{c + 9},0.1" for p, c in zip(x.tolist(), counts, strict=True)]
    return "\n".join(["power_W,clicks_a,clicks_b,dwell_s", *rows]) + "\n"


def _histogram() -> str:
    bins = np.arange(2000)
    delay_ns = (bins + 0.5) * 0.064
    distance_ns = np.abs((delay_ns + 6.5) % 13.0 - 6.5)
    heights = np.where(np.abs(delay_ns - 65.0) < 6.5, 20.0, 1000.0)
    counts = np.random.default_rng(3).poisson(heights * np.exp(-distance_ns / 0.5))
    head = "#PicoHarp 300\n#channels per curve\n2000\n#display curve no.\n0\t\n"
    return head + "#ns/channel\n0.0640\t\n#counts\n" + "".join(f"{c}\t\n" for c in counts)


def arguments(kind: str, file: Path, sound: dict[str, Path], out: Path) -> list[str]:
    """Return the command that reads a file of this kind."""
    match kind:
        case "record":
            return ["keyrate", str(file), "--loss", "14.6", "--json"]
        case "scan":  # read and checked as for `fit rabi`, which takes ten times as long
            return ["fit", "saturation", str(file), "--json"]
        case "session":
            return ["keyrate", "--counts", str(file), "--json"]
        case "histogram":
            return ["fit", "hbt", str(file), "--delay", "65e-9", "--period", "13e-9", "--json"]
        case "ptu" | "hdf5":
            return ["info", str(file), "--json"]
    files = {**sound, kind: file}
    names = [("--station", "station"), ("--recipe", "recipe"), ("--link", "link")]
    options = [word for option, name in names for word in (option, str(files[name]))]
    return ["calibrate", *options, "--out", str(out), "--json"]


def refusal(kind: str) -> int:
    """Return the exit code for a file that cannot be used."""
    return UsageError.exit_code if kind in _USAGE else RecordError.exit_code


def ended_well(code: int, told: str) -> bool:
    """Tell whether a command ended with a code of its own and said why."""
    return code in (0, 2, 10, 11, 20, 21, 30) and "Traceback" not in told
