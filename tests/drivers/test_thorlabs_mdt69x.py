r"""The MDT69x's own: a reply is ``*`` or ``!`` and, for a query, a value in brackets."""

from __future__ import annotations

import pytest

from qdchar.drivers.thorlabs_mdt69x import MDT69x
from qdchar.drivers.twin.emulators import EtalonPiezoEmulator
from qdchar.errors import InstrumentError, UsageError

ECHO_OFF = (b"E\r", b"*[Echo Off]\r")
LIMIT = (b"%\r", b"*[ 150.00]\r")


def piezo(instrument, **kwargs) -> MDT69x:
    given = {"limits_V": [0.0, 75.0], "slew_V_per_s": 1000.0, "timeout_s": 0.5, **kwargs}
    return MDT69x(instrument.address, **given)


@pytest.mark.parametrize("cut", [0, 1, 4])
def test_ramps_byte_for_byte(conversation, cut):
    instrument = conversation(
        [
            ECHO_OFF,
            LIMIT,
            (b"YR?\r", b"*[  11.90]\r"),
            (b"YV12.200\rYR?\r", b"**[  12.21]\r"),
            (b"YV12.500\rYR?\r", b"**[  12.52]\r"),
            (b"YR?\r", b"*[  12.50]\r"),
            (b"YR?\r", b"\0\r\n*[  12.50]\r\n"),
        ],
        cut=cut,
    )
    with piezo(instrument, axis="Y") as axis:
        axis.set_voltage(12.5)
        assert axis.voltage() == 12.5


def test_the_echo_is_switched_off_whatever_it_was(conversation):
    on_at_first = [(b"E\r", b"E\r*[Echo Off]\r"), LIMIT]
    off_at_first = [(b"E\r", b"*[Echo On]\r"), (b"E\r", b"E\r*[Echo Off]\r"), LIMIT]
    for said in (on_at_first, off_at_first):
        with piezo(conversation(said)):
            pass


def test_an_echo_that_stays_on_is_an_error(conversation):
    instrument = conversation([(b"E\r", b"*[Echo On]\r"), (b"E\r", b"*[Echo On]\r")])
    with pytest.raises(InstrumentError, match="the echo is still on"):
        piezo(instrument).open()


def test_a_controller_without_an_acknowledgement_of_settings_works_too(conversation):
    instrument = conversation(
        [
            ECHO_OFF,
            LIMIT,
            (b"XR?\r", b"[ 1.00]\r"),
            (b"XV1.300\rXR?\r", b"[ 1.30]\r"),
            (b"XR?\r", b"[ 1.30]\r"),
        ]
    )
    with piezo(instrument) as axis:
        axis.set_voltage(1.3)


def test_a_refused_setting_is_an_error_and_its_leftovers_are_no_answer(conversation):
    instrument = conversation(
        [
            ECHO_OFF,
            LIMIT,
            (b"XR?\r", b"*[ 1.00]\r"),
            (b"XV1.300\rXR?\r", b"!*[ 1.00]\r"),
        ],
        [ECHO_OFF, (b"XR?\r", b"*[ 7.00]\r")],
    )
    with piezo(instrument) as axis:
        with pytest.raises(InstrumentError, match=r"'XV1\.300' was answered with '!'"):
            axis.set_voltage(1.3)
        assert axis.voltage() == 7.0


def test_a_setting_that_was_lost_is_an_error(conversation):
    instrument = conversation(
        [
            ECHO_OFF,
            LIMIT,
            (b"XR?\r", b"*[ 20.00]\r"),
            (b"XV20.400\rXR?\r", b"**[ 0.00]\r"),
            (b"XR?\r", b"*[ 0.00]\r"),
        ]
    )
    with (
        piezo(instrument) as axis,
        pytest.raises(InstrumentError, match=r"20\.4 V was set, but 0 V"),
    ):
        axis.set_voltage(20.4)


@pytest.mark.parametrize("reply", [b"*[ 12,5]\r", b"*[]\r", b"*[nan]\r", b"*[12.5 V]\r"])
def test_a_garbled_value_is_an_error_that_shows_it(conversation, reply):
    instrument = conversation([ECHO_OFF, LIMIT, (b"XR?\r", reply)])
    with piezo(instrument) as axis, pytest.raises(InstrumentError, match=r"asked 'XR\?', got"):
        axis.voltage()


def test_limits_beyond_the_switch_on_its_back_are_found_out(conversation):
    instrument = conversation([ECHO_OFF, (b"%\r", b"*[ 75.00]\r")])
    with pytest.raises(UsageError, match=r"limits_V = .*its own limit at 75 V"):
        piezo(instrument, limits_V=[0.0, 100.0]).open()


def test_identity_is_read_up_to_a_query_that_marks_its_end(conversation):
    text = b"*\r\r\rModel MDT693A Piezo Control Module\rFirmware Version: 1.05\r*[  0.10]\r"
    instrument = conversation([ECHO_OFF, LIMIT, (b"I\rXR?\r", text)], cut=5)
    with piezo(instrument) as axis:
        who = axis.identify()
    assert (who.model, who.firmware, who.simulated) == ("MDT693A", "1.05", False)


@pytest.mark.parametrize("axis", ["x", "W", "", 1, None])
def test_the_axis_is_checked(axis):
    with pytest.raises(UsageError, match="axis = "):
        MDT69x("tcp://127.0.0.1:1", axis=axis, limits_V=[0, 75], slew_V_per_s=1.0)


def test_the_emulator_refuses_beyond_its_own_limit(lab):
    with EtalonPiezoEmulator(lab) as served, piezo(served) as axis:
        with pytest.raises(InstrumentError, match="refused"):
            axis._write(151.0)
        assert lab.etalon_V == 0.0
