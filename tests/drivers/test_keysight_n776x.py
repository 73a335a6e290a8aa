"""The attenuator and its shutter."""

from __future__ import annotations

import math
import time

import pytest

from qdchar.drivers.keysight_n776x import N776x
from qdchar.drivers.twin.emulators import AttenuatorEmulator
from qdchar.errors import InstrumentError, RefusedError, UsageError

IDN = (b"*IDN?\n", b"Agilent Technologies,N7761A,DE12345678,1.17\n")
NO_ERROR = b'+0,"No error"\n'


def set_to(text: str, error: bytes = NO_ERROR) -> list[tuple[bytes, bytes]]:
    return [(b"*CLS\n" + text.encode() + b"\n*OPC?\n", b"1\n"), (b"SYST:ERR?\n", error)]


def attenuator(instrument, **kwargs) -> N776x:
    given = {"limits_dB": [3.0, 50.0], "wavelength_m": 884.5e-9, **kwargs}
    return N776x(instrument.address, **given)


@pytest.fixture
def served(lab):
    with AttenuatorEmulator(lab) as emulator:
        yield emulator


@pytest.mark.parametrize("cut", [0, 1])
def test_sets_and_confirms_byte_for_byte(conversation, cut):
    instrument = conversation(
        [
            IDN,
            (b"INP2:ATT?\n", b"+2.00000000E+001\n"),
            *set_to("INP2:WAV 884.500NM"),
            (b"INP2:WAV?\n", b"+8.84500000E-007\n"),
            (b"INP2:ATT:SPE?\n", b"+1.00000000E+003\n"),
            *set_to("INP2:ATT 14.2500"),
            (b"INP2:ATT?\n", b"+1.42500000E+001\n"),
        ],
        cut=cut,
    )
    with attenuator(instrument, channel=2) as device:
        device.set_attenuation(14.25)


def test_goes_where_it_is_told(lab, served):
    with attenuator(served) as device:
        for value in (3.0, 27.123, 50.0):
            device.set_attenuation(value)
            assert lab.attenuation_dB == value
            assert device.attenuation() == pytest.approx(value, abs=1e-6)
        assert device.snapshot()["wavelength_m"] == pytest.approx(884.5e-9)


def test_waits_until_the_filter_is_there(lab, served):
    with attenuator(served) as device:
        started = time.monotonic()
        device.set_attenuation(10.0)
        assert time.monotonic() - started >= 20.0 / 1000.0  # from 30 dB at 1000 dB/s
        started = time.monotonic()
        device.open_shutter()
        assert time.monotonic() - started >= 60.0 / 1000.0


def test_a_slow_filter_may_take_its_time(conversation):
    instrument = conversation(
        [
            IDN,
            (b"INP1:ATT?\n", b"10\n"),
            *set_to("INP1:WAV 884.500NM"),
            (b"INP1:WAV?\n", b"+8.845E-007\n"),
            (b"INP1:ATT:SPE?\n", b"100\n"),
            (b"*CLS\nINP1:ATT 50.0000\n*OPC?\n", 0.3),
            (b"", b"1\n"),
            (b"SYST:ERR?\n", NO_ERROR),
            (b"INP1:ATT?\n", b"50\n"),
        ]
    )
    with attenuator(instrument, timeout_s=0.1) as device:
        device.set_attenuation(50.0)


@pytest.mark.parametrize("value", [2.999, 50.001, -1.0, math.nan, math.inf])
def test_refuses_beyond_the_limits_and_does_not_move(lab, served, value):
    with attenuator(served) as device:
        with pytest.raises(RefusedError, match="limits_dB allows 3 to 50 dB") as caught:
            device.set_attenuation(value)
        assert caught.value.exit_code == 21
        with pytest.raises(RefusedError, match="1 of 3 values"):
            device.check(10.0, value, 20.0)
        assert device.limits_dB == (3.0, 50.0)
    assert lab.attenuation_dB == 30.0


def test_more_than_the_instrument_can_do_is_an_error_not_60(lab, served):
    """A peer set 60 dB silently when 90 were asked for."""
    with (
        attenuator(served, limits_dB=[0.0, 100.0]) as device,
        pytest.raises(InstrumentError, match="Data out of range"),
    ):
        device.set_attenuation(90.0)
    assert lab.attenuation_dB == 30.0


def test_a_clamped_setting_is_an_error(conversation):
    instrument = conversation(
        [
            IDN,
            (b"INP1:ATT?\n", b"20\n"),
            *set_to("INP1:WAV 884.500NM"),
            (b"INP1:WAV?\n", b"+8.845E-007\n"),
            (b"INP1:ATT:SPE?\n", b"1000\n"),
            *set_to("INP1:ATT 50.0000"),
            (b"INP1:ATT?\n", b"45\n"),
        ]
    )
    with (
        attenuator(instrument) as device,
        pytest.raises(InstrumentError, match="50 dB was set, but 45 dB is read back"),
    ):
        device.set_attenuation(50.0)


def test_a_wavelength_that_was_not_taken_is_an_error(conversation):
    instrument = conversation(
        [
            IDN,
            (b"INP1:ATT?\n", b"20\n"),
            *set_to("INP1:WAV 884.500NM"),
            (b"INP1:WAV?\n", b"+1.55E-006\n"),
        ]
    )
    with attenuator(instrument) as device, pytest.raises(InstrumentError, match="read back"):
        device.set_attenuation(20.0)


def test_shutter(lab, served):
    with attenuator(served) as device:
        device.open_shutter()
        assert lab.shutter_open
        device.open_shutter()
        device.close_shutter()
        assert not lab.shutter_open


def test_make_safe_closes_the_shutter_and_leaves_the_attenuation(lab, served):
    with attenuator(served) as device:
        device.set_attenuation(10.0)
        device.open_shutter()
        device.make_safe()
        assert not lab.shutter_open
        device.make_safe()
        assert lab.attenuation_dB == 10.0
        device.open_shutter()
    device.make_safe()
    assert not lab.shutter_open
    device.close()


def test_a_shutter_that_does_not_move_is_an_error(conversation):
    instrument = conversation(
        [IDN, *[(b"OUTP1?\n", b"1\n"), *set_to("OUTP1 0"), (b"OUTP1?\n", b"1\n")] * 2]
    )
    with (
        attenuator(instrument) as device,
        pytest.raises(InstrumentError, match="shutter was told to close"),
    ):
        device.make_safe()


def test_make_safe_closes_the_shutter_over_a_new_connection(conversation):
    instrument = conversation(
        [IDN, (b"OUTP1?\n", b"1\n"), (b"*CLS\nOUTP1 0\n*OPC?\n", None)],
        [IDN, (b"OUTP1?\n", b"1\n"), *set_to("OUTP1 0"), (b"OUTP1?\n", b"0\n")],
    )
    with attenuator(instrument) as device:
        device.make_safe()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits_dB", [50.0, 0.0]),
        ("limits_dB", [-1.0, 50.0]),
        ("limits_dB", 50.0),
        ("wavelength_m", 884.5),
        ("channel", 0),
        ("channel", "1"),
        ("timeout_s", 0.0),
    ],
)
def test_values_of_the_station_file_are_checked(key, value):
    given = {"limits_dB": [0.0, 50.0], "wavelength_m": 884.5e-9, key: value}
    with pytest.raises(UsageError, match=f"{key} = "):
        N776x("tcp://127.0.0.1:1", **given)
