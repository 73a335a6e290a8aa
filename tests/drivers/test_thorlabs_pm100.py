"""The power meter: a number that is a power, at the right wavelength, or an error."""

from __future__ import annotations

import math

import pytest

from qdchar.drivers.thorlabs_pm100 import PM100
from qdchar.drivers.twin.emulators import PowerMeterEmulator
from qdchar.errors import InstrumentError, RefusedError, UsageError

IDN = (b"*IDN?\n", b"Thorlabs,PM100D,P0012345,2.5.0\n")


def set_to(text: str, error: bytes = b'+0,"No error"\n') -> list[tuple[bytes, bytes]]:
    return [
        (b"*CLS\n" + text.encode() + b"\n*OPC?\n", b"1\n"),
        (b"SYST:ERR?\n", error),
    ]


CONFIGURED = [
    (b"SENS:CORR:WAV? MIN\n", b"4.000000E+02\n"),
    (b"SENS:CORR:WAV? MAX\n", b"1.100000E+03\n"),
    *set_to("SENS:CORR:WAV 884.500"),
    *set_to("SENS:POW:UNIT W"),
    *set_to("SENS:POW:RANG:AUTO ON"),
    (b"SENS:CORR:WAV?\n", b"8.845000E+02\n"),
    (b"SENS:POW:UNIT?\n", b"W\n"),
]


def meter(instrument, **kwargs) -> PM100:
    return PM100(instrument.address, **{"wavelength_m": 884.5e-9, **kwargs})


@pytest.mark.parametrize("cut", [0, 1])
def test_sets_the_wavelength_reads_it_back_and_measures(conversation, cut):
    instrument = conversation(
        [
            IDN,
            *CONFIGURED,
            (b"MEAS:POW?\n", b"1.23450000E-06\n"),
            (b"MEAS:POW?\n", b"-2.0E-11\n"),
        ],
        cut=cut,
    )
    with meter(instrument) as power_meter:
        assert power_meter.power_W() == 1.2345e-6
        assert power_meter.power_W() == -2.0e-11  # a dark reading scatters around 0


def test_opening_sets_nothing(conversation):
    instrument = conversation([IDN])
    with meter(instrument):
        pass
    assert instrument.heard == [b"*IDN?\n"]


def test_a_wavelength_beyond_the_sensor_is_refused_not_clamped(lab):
    """A peer set 1100 nm silently when 2500 were asked for."""
    with PowerMeterEmulator(lab) as served, PM100(served.address, wavelength_m=2500e-9) as meter:
        with pytest.raises(RefusedError, match="calibrated from 400 to 1100 nm"):
            meter.power_W()
        assert meter.snapshot()["wavelength_m"] == pytest.approx(635e-9)


def test_a_wavelength_that_was_clamped_by_the_meter_is_an_error(conversation):
    said = list(CONFIGURED)
    said[-2] = (b"SENS:CORR:WAV?\n", b"8.800000E+02\n")
    instrument = conversation([IDN, *said[:-1]])
    with (
        meter(instrument) as power_meter,
        pytest.raises(InstrumentError, match=r"884\.500 nm was set, but 880 nm is read back"),
    ):
        power_meter.power_W()


def test_a_meter_that_stays_in_dBm_is_an_error(conversation):
    instrument = conversation([IDN, *CONFIGURED[:-1], (b"SENS:POW:UNIT?\n", b"DBM\n")])
    with (
        meter(instrument) as power_meter,
        pytest.raises(InstrumentError, match="'DBM' is read back"),
    ):
        power_meter.power_W()


def test_the_meters_own_error_is_told(conversation):
    instrument = conversation(
        [
            IDN,
            *CONFIGURED[:2],
            *set_to("SENS:CORR:WAV 884.500", b'-221,"Settings conflict"\n'),
        ]
    )
    with meter(instrument) as power_meter, pytest.raises(InstrumentError, match="Settings conf"):
        power_meter.power_W()


def test_a_meter_that_was_restarted_is_set_again_before_it_is_believed(conversation):
    """It comes back at its own wavelength: the first reading after that is dropped."""
    instrument = conversation(
        [IDN, *CONFIGURED, (b"MEAS:POW?\n", b"1.0E-6\n"), (b"MEAS:POW?\n", None)],
        [IDN, (b"MEAS:POW?\n", b"7.0E-6\n"), *CONFIGURED, (b"MEAS:POW?\n", b"1.1E-6\n")],
    )
    with meter(instrument) as power_meter:
        assert power_meter.power_W() == 1.0e-6
        assert power_meter.power_W() == 1.1e-6


@pytest.mark.parametrize(
    "reply",
    [b"nan\n", b"inf\n", b"\n", b"1.0E-6 W\n", b"1.0E-6,0\n", b"1,0E-6\n", b"0x10\n", b"1_0\n"],
)
def test_a_garbled_power_is_an_error_that_shows_it(conversation, reply):
    instrument = conversation([IDN, *CONFIGURED, (b"MEAS:POW?\n", reply)])
    with (
        meter(instrument) as power_meter,
        pytest.raises(InstrumentError, match=r"asked 'MEAS:POW\?', got .* instead of a number"),
    ):
        power_meter.power_W()


def test_over_range_is_not_a_power(conversation):
    instrument = conversation([IDN, *CONFIGURED, (b"MEAS:POW?\n", b"9.9E37\n")])
    with meter(instrument) as power_meter, pytest.raises(InstrumentError, match="beyond its range"):
        power_meter.power_W()


@pytest.mark.parametrize("idn", [b"Thorlabs,PM100D\n", b"\n", b"a,b,c,d,e\n"])
def test_an_identity_with_other_than_four_fields_is_an_error(conversation, idn):
    instrument = conversation([(b"*IDN?\n", idn)])
    with pytest.raises(
        InstrumentError, match=r"instead of vendor, model, serial number and firmware"
    ):
        meter(instrument).open()


@pytest.mark.parametrize("wavelength", [0.0, -1.0, 884.5, math.nan, "884.5 nm"])
def test_a_wavelength_is_checked(wavelength):
    with pytest.raises(UsageError, match="wavelength_m = "):
        PM100("tcp://127.0.0.1:1", wavelength_m=wavelength)
