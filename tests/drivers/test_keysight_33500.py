"""The polarisation modulator's generator."""

from __future__ import annotations

import pytest

from qdchar.drivers.keysight_33500 import Keysight33500
from qdchar.drivers.twin.emulators import ModulatorEmulator
from qdchar.errors import InstrumentError, UsageError

IDN = (b"*IDN?\n", b"Keysight Technologies,33522B,MY1,4.00\n")
NO_ERROR = b'+0,"No error"\n'
STATES = {"H": [0.0, 0.0], "V": [2.5, 0.0], "R": [1.25, 1.25], "L": [1.25, -1.25]}
INFINITE = b"+9.900000000000000E+37\n"


def set_to(text: str, error: bytes = NO_ERROR) -> list[tuple[bytes, bytes]]:
    return [(b"*CLS\n" + text.encode() + b"\n*OPC?\n", b"1\n"), (b"SYST:ERR?\n", error)]


def modulator(address: str, **kwargs) -> Keysight33500:
    return Keysight33500(address, **{"states": STATES, "limits_V": [-5.0, 5.0], **kwargs})


@pytest.mark.parametrize("cut", [0, 1])
def test_sets_a_state_byte_for_byte(conversation, cut):
    def channel(n: int, volts: str, on: bool) -> list[tuple[bytes, bytes]]:
        said = [
            (f"SOUR{n}:FUNC?\n".encode(), b"DC\n"),
            (f"OUTP{n}:LOAD?\n".encode(), INFINITE),
            *set_to(f"SOUR{n}:VOLT:OFFS {volts}"),
            (f"OUTP{n}?\n".encode(), b"1\n" if on else b"0\n"),
        ]
        return said if on else [*said, *set_to(f"OUTP{n} ON")]

    def read(n: int) -> list[tuple[bytes, bytes]]:
        return [
            (f"SOUR{n}:FUNC?\n".encode(), b"DC\n"),
            (f"OUTP{n}:LOAD?\n".encode(), INFINITE),
            (f"OUTP{n}?\n".encode(), b"1\n"),
        ]

    instrument = conversation(
        [
            IDN,
            *channel(1, "1.2500", on=True),
            *channel(2, "-1.2500", on=False),
            *read(1),
            *read(2),
            (b"SOUR1:VOLT:OFFS?\n", b"+1.250000000000000E+00\n"),
            (b"SOUR2:VOLT:OFFS?\n", b"-1.250000000000000E+00\n"),
        ],
        cut=cut,
    )
    with modulator(instrument.address) as device:
        device.select("L")


def test_a_generator_fresh_from_its_switch_gives_the_voltages_asked_for(lab):
    """It starts with a sine into 50 ohm, which would double them; the output is off meanwhile."""
    with ModulatorEmulator(lab) as served, modulator(served.address) as device:
        assert device.selected() == ""
        for state, pair in STATES.items():
            device.select(state)
            assert [lab.modulator_V[n] for n in (1, 2)] == pytest.approx(pair)
            assert device.selected() == state
        assert set(lab.modulator_history) <= {
            (n, v) for p in STATES.values() for n in (1, 2) for v in p
        }


def test_safe_is_off_from_any_state(lab):
    with ModulatorEmulator(lab) as served:
        device = modulator(served.address)
        device.make_safe()
        device.select("L")
        assert lab.modulator_V == {1: pytest.approx(1.25), 2: pytest.approx(-1.25)}
        device.make_safe()
        device.make_safe()
        assert lab.modulator_V == {1: 0.0, 2: 0.0}
        assert device.selected() == ""
        device.close()


def test_an_unknown_state_sets_nothing(lab):
    with ModulatorEmulator(lab) as served, modulator(served.address) as device:
        with pytest.raises(UsageError, match=r"'D' was asked for, but the states are H, V, R, L"):
            device.select("D")
        assert not lab.modulator_history


def test_a_voltage_that_was_not_taken_is_found_out(lab, monkeypatch):
    with ModulatorEmulator(lab) as served, modulator(served.address) as device:
        device.select("H")
        monkeypatch.setattr(served, "_offset_V", {1: 0.0, 2: 0.0})  # written to, not read
        with pytest.raises(
            InstrumentError, match="'V' was set, but its voltages, read back, are those of H"
        ):
            device.select("V")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("states", {}, "a table is needed"),
        ("states", {"X": [0, 0]}, "states.X: unknown; possible are H, V"),
        ("states", {"H": [0.0]}, "two numbers"),
        ("states", {"H": [0.0, 5.5]}, "-5 to 5 is allowed"),
        ("states", {"H": [0.0, 1.0], "V": [0.0, 1.0]}, "have the same voltages"),
        ("limits_V", [-20, 20], "limits_V"),
        ("settle_s", -1, "settle_s"),
    ],
)
def test_values_of_the_station_file_are_checked(key, value, says):
    with pytest.raises(UsageError, match=says):
        modulator("tcp://127.0.0.1:1", **{key: value})
