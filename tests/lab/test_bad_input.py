"""Whatever stands in a file or an argument, it ends with a message and an exit code of its own.

Sound files are changed at random, from seeds; ``python validation/mutated_input.py`` tries
thousands of them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from qdchar.cli import run
from qdchar.drivers import _line
from qdchar.errors import InstrumentError

from .changed_files import KINDS, arguments, changed, ended_well, refusal, sound_files

CASES = 25


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
    assert code == (20 if kind in ("station", "recipe", "link") else 0)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_ends_with_a_message(
    kind: str, sound: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng([15, KINDS.index(kind)])
    data = sound[kind].read_bytes()
    for case in range(CASES):
        file = tmp_path / f"{case}{sound[kind].suffix}"
        file.write_bytes(changed(kind, data, rng))
        code = run(arguments(kind, file, sound, tmp_path / "runs"))
        out, err = capfd.readouterr()
        assert ended_well(code, err), f"{file}: exit {code}\n{err[-2000:]}"
        assert code != refusal(kind) or file.name in err
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
    if (kind, what) == ("scan", "latin-1"):  # a table of data is read in any usual encoding
        assert code == 0, told
        return
    assert code == refusal(kind), told
    says = {"folder": "a folder", "fifo": "a FIFO", "device": "a device", "latin-1": "line 1"}
    if kind in ("histogram", "ptu", "hdf5"):  # known by how they begin
        says["latin-1"] = "begins with b'# 3 "
    if what in says and not (kind == "record" and what == "folder"):
        assert says[what] in told


def test_a_key_of_thousands_of_parts_is_refused_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The parser's time grows with the square of the parts: 50 000 took 40 s."""
    file = tmp_path / "link.toml"
    file.write_text("# a link\n" + "a." * 50_000 + "a = 1\n")
    assert run(["keyrate", "--link", str(file)]) == 2
    assert "link.toml, line 2" in capfd.readouterr().err


def test_a_pass_whose_cell_is_longer_than_csv_allows_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pass.csv"
    file.write_text("time_s,loss_dB\n0," + "1" * 200_000 + "\n")
    assert run(["keyrate", "--pass", str(file)]) == 2
    assert "pass.csv" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["station", "recipe", "link", "session"])
def test_true_is_no_number(
    kind: str, sound: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pydantic takes true for 1: a certificate with ``u = true`` had an uncertainty of 1."""
    lines = sound[kind].read_text().splitlines()
    numbers = [k for k, line in enumerate(lines) if re.fullmatch(r"\w+ = [-\d_.e+]+", line)]
    assert len(numbers) >= 2
    for k in numbers[:: max(len(numbers) // 12, 1)]:
        key = lines[k].partition(" ")[0]
        file = tmp_path / f"{k}.toml"
        file.write_text("\n".join([*lines[:k], f"{key} = true", *lines[k + 1 :]]))
        assert run(arguments(kind, file, sound, tmp_path / "runs")) == 2, lines[k]
        assert key in capfd.readouterr().err
        # where a list or a table of numbers is allowed, too
        file.write_text("\n".join([*lines[:k], f"{key} = [true]", *lines[k + 1 :]]))
        assert run(arguments(kind, file, sound, tmp_path / "runs")) == 2, lines[k]
        assert key in capfd.readouterr().err


@pytest.mark.parametrize("number", ["inf", "1e300", "-1", "0"])
def test_a_session_sent_a_number_of_pulses(
    number: str, sound: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = re.sub(r"pulses_sent = \S+", f"pulses_sent = {number}", sound["session"].read_text())
    file = tmp_path / "session.toml"
    file.write_text(text)
    assert run(["keyrate", "--counts", str(file)]) == 2
    assert "pulses_sent" in capfd.readouterr().err


def test_a_block_that_is_longer_than_any_link_lives_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "link.toml"
    file.write_text("block = 1e300\n")
    assert run(["keyrate", "--link", str(file)]) == 2
    assert "asymptotic" in capfd.readouterr().err
