"""A station file with the transmitter's parts: the chain beside the measured efficiency."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import UsageError
from qdchar.estimate import covariance
from qdchar.fit import Result
from qdchar.lab.measurements.loss_chain import with_chain
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run
from qdchar.lab.session import Session
from qdchar.lab.station import load_station

PARTS = """
[calibrations.transmitter_part_modulator]
value = 0.97
u = 0.005
unit = "1"
shared = {{ "power meter linearity" = 0.003 }}

[calibrations.transmitter_part_coupling]
value = {coupling_dB}
u = 0.04
unit = "dB"
shared = {{ "power meter linearity" = -0.013 }}
"""
STATION = """
name = "bench"
source = "QD"
wavelength_m = 884.5e-9
nominal_clock_Hz = 76.13e6
roles = {}
"""


class Quiet:
    def say(self, text: str) -> None: ...

    warn = detail = say

    @contextlib.contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[object]:
        yield lambda done, total, text: None


def _coupling_dB(truth: Truth) -> float:
    return -10 * math.log10(truth.passage / 0.97)


def test_parts_are_held_against_the_whole(tmp_path: Path) -> None:
    truth = Truth()
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serve(truth, 2))
        file = tmp_path / "station.toml"
        file.write_text(station_toml(served) + PARTS.format(coupling_dB=_coupling_dB(truth)))
        run = stack.enter_context(Run.create(tmp_path, "test", "chain"))
        station = stack.enter_context(load_station(file, say=lambda _: None))
        s = Session(station, run, Recipe(), Quiet(), MEASUREMENTS)  # type: ignore[arg-type]
        s.make("hbt_before")
        result = s.make("transmitter")
    chain, whole = result["transmitter_efficiency_chain"], result["transmitter_efficiency"]
    assert abs(chain.value - truth.transmitter.efficiency) < 4 * chain.u
    assert chain.u < 0.03 * chain.value
    assert "p = " in chain.method
    assert result.problems == ()
    # the etalon's overlap is in the chain, and the line that it rests on in both
    assert covariance([chain, result["etalon_overlap"]])[0, 1] > 0
    assert {c.source for c in chain.budget} & {c.source for c in whole.budget}

    # the same, from a lab that has overlooked half a decibel
    certificates = station.file.calibrations
    coupling = certificates["transmitter_part_coupling"]
    certificates["transmitter_part_coupling"] = coupling.model_copy(
        update={"value": coupling.value - 0.5}
    )
    again = with_chain(
        s, Result((whole,)), whole.name, "transmitter_part_", [result["etalon_overlap"]]
    )
    (problem,) = again.problems
    assert "a loss is missing" in problem
    assert "coupling" in problem


def test_certificates_that_share_a_meter_are_correlated(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text(STATION + PARTS.format(coupling_dB=2.0))
    station = load_station(file)
    names = ("transmitter_part_modulator", "transmitter_part_coupling")
    modulator, coupling = (station.calibration(n) for n in names)
    assert modulator.u == pytest.approx(0.005)
    assert coupling.u == pytest.approx(0.04)
    assert covariance([modulator, coupling])[0, 1] == pytest.approx(-0.003 * 0.013)


def test_a_certificate_cannot_share_more_than_it_has(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    text = PARTS.format(coupling_dB=2.0).replace("u = 0.005", "u = 0.002")
    file.write_text(STATION + text)
    with pytest.raises(UsageError, match=r"transmitter_part_modulator.*more than u"):
        load_station(file)
