"""The analyser's wave plates in their rotation mounts, and the optics that they are for."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.drivers.elliptec_ell14 import ANGLES_DEG, WavePlateAnalyser
from qdchar.drivers.twin.emulators import AnalyserEmulator
from qdchar.drivers.twin.polarisation import AXES, analysed, depolarised, passed, sent
from qdchar.errors import InstrumentError, UsageError
from qdchar.roles import ORTHOGONAL

WHO = b"%bIN0E114005172023170101680002_3000\r\n".replace(b"_", b"")


def who(mount: bytes) -> tuple[bytes, bytes]:
    return mount + b"in", WHO.replace(b"%b", mount)


@pytest.mark.parametrize("cut", [0, 1])
def test_turns_byte_for_byte(conversation, cut):
    instrument = conversation(
        [
            who(b"0"),
            who(b"1"),
            (b"0ho0", b"0PO00000000\r\n"),
            (b"0ma00000FA0", b"0PO00000FA0\r\n"),  # 4000 of 143360 pulses: 10.04 degrees
            (b"1ho0", b"1PO00000000\r\n"),
            (b"1ma000061D8", b"1PO000061D8\r\n"),
            (b"0gp", b"0PO00000FA0\r\n"),
            (b"1gp", b"1PO000061D8\r\n"),
            (b"0ma00000FA0", b"0PO00000FA0\r\n"),  # homed once a connection
            (b"1ma000061D8", b"1PO000061D8\r\n"),
            (b"0gp", b"0PO00000FA0\r\n"),
            (b"1gp", b"1PO000061D8\r\n"),
        ],
        cut=cut,
    )
    zeros = [4000 / 143360 * 360, 0x61D8 / 143360 * 360]
    with WavePlateAnalyser(instrument.address, zeros_deg=zeros) as device:
        device.select("H")
        device.select("H")


def test_a_plate_a_little_below_zero_is_where_it_should_be(conversation):
    """Positions are signed: FFFFFFF6 is ten pulses below zero, 0.025 degrees."""
    places = [(b"0gp", b"0POFFFFFFF6\r\n"), (b"1gp", b"1PO00000007\r\n")]
    instrument = conversation([who(b"0"), who(b"1"), *places, *places])
    with WavePlateAnalyser(instrument.address, zeros_deg=[0.0, 0.0]) as device:
        assert device.selected() == "H"
        assert device.snapshot()["quarter_wave_deg"] == pytest.approx(-10 / 143360 * 360)


def test_goes_where_it_is_told(lab):
    with AnalyserEmulator(lab) as served:
        with WavePlateAnalyser(served.address, zeros_deg=[31.5, 118.2]) as device:
            assert device.selected() == ""
            for state, (quarter, half) in ANGLES_DEG.items():
                device.select(state)
                assert device.selected() == state
                # 143360 pulses a turn
                assert lab.plates_deg["quarter"] == pytest.approx(31.5 + quarter, abs=2e-3)
                assert lab.plates_deg["half"] == pytest.approx(118.2 + half, abs=2e-3)
        assert lab.time_s > 0.1  # turns take their time


def test_a_mount_that_is_blocked_is_named(conversation):
    instrument = conversation(
        [who(b"0"), who(b"1"), (b"0ho0", b"0GS02\r\n")],
    )
    with (
        WavePlateAnalyser(instrument.address, zeros_deg=[0.0, 0.0]) as device,
        pytest.raises(InstrumentError, match=r"mount 0, asked 'ho0'.*the mount is blocked"),
    ):
        device.select("H")


def test_a_plate_that_did_not_get_there_is_found_out(lab, monkeypatch):
    with (
        AnalyserEmulator(lab) as served,
        WavePlateAnalyser(served.address, zeros_deg=[0.0, 0.0]) as device,
    ):
        device.select("H")
        monkeypatch.setattr(lab, "turn_plate", lambda name, angle_deg: None)
        with pytest.raises(
            InstrumentError, match="'D' was selected, but the angles, read back, are those of H"
        ):
            device.select("D")


def test_another_mount_count_on_the_bus_is_found_out(lab):
    with (
        AnalyserEmulator(lab) as served,
        pytest.raises(InstrumentError, match="wave plates"),
    ):
        WavePlateAnalyser(
            served.address, zeros_deg=[0.0, 0.0], addresses="07", timeout_s=0.2
        ).open()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("zeros_deg", [0.0], "two numbers"),
        ("zeros_deg", [0.0, 400.0], "zeros_deg"),
        ("addresses", "0", "two bus addresses"),
        ("addresses", "00", "have the same address"),
        ("angles_deg", {}, "a table is needed"),
        ("angles_deg", {"X": [0, 0]}, "angles_deg.X"),
        ("angles_deg", {"H": 3.0}, "two numbers"),
    ],
)
def test_values_of_the_station_file_are_checked(key, value, says):
    with pytest.raises(UsageError, match=says):
        WavePlateAnalyser("tcp://127.0.0.1:1", **{"zeros_deg": [0.0, 0.0], key: value})


def jones_to_first_output(
    state: str,
    quarter_deg: float,
    half_deg: float,
    retardances: tuple[float, float] = (np.pi / 2, np.pi),
) -> float:
    """Power at the beam splitter's H output by Jones calculus, first principles."""
    fields = {
        "H": [1, 0], "V": [0, 1], "D": [1, 1], "A": [1, -1], "R": [1, 1j], "L": [1, -1j],
    }  # fmt: skip
    field = np.array(fields[state], dtype=complex)
    field /= np.linalg.norm(field)
    for degrees, retardance in zip((quarter_deg, half_deg), retardances, strict=True):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.array([[c, s], [-s, c]])
        field = turn.T @ np.diag([1.0, np.exp(-1j * retardance)]) @ turn @ field
    return float(abs(field[0]) ** 2)


def test_the_plates_do_what_jones_calculus_says() -> None:
    rng = np.random.default_rng(3)
    for quarter, half in [*ANGLES_DEG.values(), *rng.uniform(0.0, 180.0, (5, 2))]:
        axis = analysed(quarter, half)
        for state, vector in AXES.items():
            assert passed(np.array(vector), axis) == pytest.approx(
                jones_to_first_output(state, quarter, half), abs=1e-12
            )


def test_plates_of_another_retardance_do_what_jones_calculus_says() -> None:
    for quarter, half in [*ANGLES_DEG.values(), (17.0, 118.0)]:
        axis = analysed(quarter, half, (0.3, -0.7))
        for state, vector in AXES.items():
            assert passed(np.array(vector), axis) == pytest.approx(
                jones_to_first_output(state, quarter, half, (np.pi / 2 + 0.3, np.pi - 0.7)),
                abs=1e-12,
            )


def test_every_state_has_its_angles_and_voltages() -> None:
    v = 2.5
    voltages = {"H": (0, 0), "V": (v, 0), "D": (v / 2, 0), "A": (-v / 2, 0)}
    voltages |= {"R": (v / 2, v / 2), "L": (v / 2, -v / 2)}
    errs = dict(zip(AXES, (0.01, 0.02, 0.03, 0.04, 0.05, 0.06), strict=True))
    for state, angles in ANGLES_DEG.items():
        ideal = sent(voltages[state], v)
        assert passed(ideal, analysed(*angles)) == pytest.approx(1.0)
        real = depolarised(ideal, errs)
        assert passed(real, analysed(*angles)) == pytest.approx(1.0 - errs[state])
        other = ANGLES_DEG[ORTHOGONAL[state]]
        assert passed(real, analysed(*other)) == pytest.approx(errs[state])
