"""The served lab: its station file opens, and tells no more than certificates."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qdchar import roles
from qdchar.cli import run
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.lab.station import load_station


def test_station_file_opens_and_its_instruments_reach_the_lab(tmp_path: Path) -> None:
    with serve(Truth(), 3) as served:
        file = tmp_path / "station.toml"
        file.write_text(station_toml(served), encoding="utf-8")
        with load_station(file, lambda _: None) as station:
            assert all(i.simulated for i in station.identities().values())
            axis = station.role("cavity_fine", roles.VoltageAxis)
            axis.set_voltage(2.0)
            assert served.lab.piezo_voltage(3) == 2.0
            etalon = station.role("etalon_piezo", roles.VoltageAxis)
            etalon.set_voltage(10.0)
            assert served.lab.etalon_voltage() == 10.0
            pump = station.role("pump_attenuator", roles.Attenuator)
            pump.set_attenuation(12.5)
            pump.open_shutter()
            assert (served.lab.attenuation(), served.lab.shutter()) == (12.5, True)
            light = station.role("light_path", roles.LightPath)
            for name in ("before", "after", "laser", "narrow", "blocked"):
                light.select(name)
                assert served.lab.selected_path() == name
            power = station.role("pump_power", roles.PowerMeter).power_W()
            assert power == pytest.approx(200e-9 * 10**-1.25, rel=0.3)
            tagger = station.role("tagger", roles.TimeTagger)
            assert (tagger.channel_sync, tagger.channel_a, tagger.channel_b) == (0, 1, 2)
            assert (tagger.sync_divider, tagger.resolution_ps) == (1024, 42.0)
            assert sum(len(b.times_ps) for b in tagger.stream(0.01)) == pytest.approx(743, abs=30)
            coarse = station.role("cavity_coarse", roles.StepAxis)
            coarse.step(2)
            assert served.lab._settings.coarse_m > 0.0


def test_station_file_gives_no_truth_away() -> None:
    """What was set appears nowhere; certificates do, with their errors."""
    settings = {
        "source.lifetime": "61.37e-12",
        "source.g2": "0.0431",
        "source.collection_efficiency": "0.4567",
        "source.pi_power": "13.79e-9",
        "cavity.resonance_V": "27.53",
        "transmitter.efficiency": "0.3719",
        "detector.efficiency": "0.8113",
        "detector.dead_time": "41.7e-9",
        "detector.dark_count_rate": "57.1",
    }
    with serve(Truth.from_settings(settings), 3) as served:
        text = station_toml(served)
    numbers = {float(n) for n in re.findall(r"\d+\.?\d*(?:e[-+]?\d+)?", text)}
    for value in settings.values():
        assert float(value) not in numbers
    calibrations = tomllib.loads(text)["calibrations"]
    certificate = calibrations["detector_efficiency"]
    assert 0 < abs(certificate["value"] - 0.8113) < 5 * certificate["u"]
    assert certificate["u"] == pytest.approx(0.025 * certificate["value"])
    assert 0 < abs(calibrations["purcell_expected"]["value"] - 14.0) < 10.0
    assert 0.9 < calibrations["power_meter_gain"]["value"] < 1.1
    assert calibrations["power_meter_gain"]["value"] != 1.0


def test_twin_prints_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["twin", "--truth", "--json", "--set", "source.g2=0.05"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["quantities"]["g2_zero_source"] == {"value": pytest.approx(0.05), "unit": "1"}
    assert run(["twin", "--truth"]) == 0
    assert re.search(r"^lifetime +7.58e-11 s$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "source.g2"], "KEY=VALUE"),
        (["--set", "source.g2=0.1", "--set", "source.g2=0.2"], "twice"),
        (["--set", "source.colour=blue"], "unknown"),
        (["--seed", "-1"], "0 or more"),
    ],
)
def test_twin_refuses_what_it_cannot_be(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["twin", "--truth", *arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("end", ["stdin", signal.SIGTERM, signal.SIGINT])
def test_twin_serves_until_it_is_told_to_stop(end: object, tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    command = [sys.executable, "-m", "qdchar", "twin", "--json", "--port", "0"]
    command += ["--station", str(station)]
    if end == "stdin":
        command.append("--until-stdin-closes")
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdin is not None
    line = json.loads(process.stdout.readline())
    assert line["station"] == str(station)
    assert len(set(line["ports"].values())) == 9
    with load_station(station, lambda _: None) as opened:
        assert opened.role("tagger", roles.TimeTagger).count(1.0).dwell_s == 1.0
    if isinstance(end, signal.Signals):
        process.send_signal(end)
    else:
        process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
    process.stdin.close()
