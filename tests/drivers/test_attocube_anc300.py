"""The ANC300's own: login, modes, steps; conversations byte for byte."""

from __future__ import annotations

import threading

import pytest

from qdchar.drivers.attocube_anc300 import ANC300, OffsetAxis, StepperAxis
from qdchar.drivers.twin.emulators import AttocubeEmulator
from qdchar.errors import InstrumentError, RefusedError, UsageError

LOGIN = [
    (b"", b"\xff\xfb\x01\r\nAuthorization code: "),
    (b"secret\r\n", b"******\r\nAuthorization success\r\n> "),
    (b"echo off\r\n", b"echo off\r\nOK\r\n"),
]
OK = b"OK\r\n"


def volts(voltage: float) -> bytes:
    return f"voltage = {voltage:.6f} V\r\nOK\r\n".encode()


def mode(name: str) -> bytes:
    return f"mode = {name}\r\nOK\r\n".encode()


def link_to(instrument, **kwargs) -> ANC300:
    return ANC300(instrument.address, password="secret", **kwargs)


def axis_of(link: ANC300, **kwargs) -> OffsetAxis:
    return OffsetAxis(link, axis=3, **{"limits_V": [0.0, 60.0], "slew_V_per_s": 1000.0, **kwargs})


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_takes_over_a_grounded_axis_without_a_jump(conversation, cut):
    """An old 35 V waits behind 'off': it is set to 0 while the output is still grounded."""
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("gnd")),
            (b"seta 3 0.000000\r\n", OK),
            (b"setm 3 off\r\n", OK),
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(0.0)),
            (b"seta 3 0.400000\r\n", OK),
            (b"seta 3 0.800000\r\n", OK),
            (b"geta 3\r\n", volts(0.8)),
        ],
        cut=cut,
    )
    with link_to(instrument) as link:
        axis_of(link).set_voltage(0.8)


def test_takes_over_a_live_axis_from_its_present_voltage(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(42.0)),
            (b"seta 3 41.600000\r\n", OK),
            (b"seta 3 41.200000\r\n", OK),
            (b"geta 3\r\n", volts(41.2)),
        ]
    )
    with link_to(instrument) as link:
        axis_of(link).set_voltage(41.2)


def test_make_safe_ramps_then_grounds_then_forgets(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(1.2)),
            (b"seta 3 0.800000\r\n", OK),
            (b"seta 3 0.400000\r\n", OK),
            (b"seta 3 0.000000\r\n", OK),
            (b"setm 3 gnd\r\n", OK),
            (b"getm 3\r\n", mode("gnd")),
            (b"seta 3 0.000000\r\n", OK),
        ]
    )
    with link_to(instrument) as link:
        axis_of(link).make_safe()


def test_make_safe_goes_on_where_a_broken_connection_left_it(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(1.0)),
            (b"seta 3 0.500000\r\n", None),
        ],
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(0.5)),
            (b"seta 3 0.000000\r\n", OK),
            (b"setm 3 gnd\r\n", OK),
            (b"getm 3\r\n", mode("gnd")),
            (b"seta 3 0.000000\r\n", OK),
        ],
    )
    with link_to(instrument) as link:
        axis_of(link).make_safe()


def test_a_ramp_does_not_go_on_over_a_new_connection(conversation):
    """The controller may have been restarted: going on would be a jump."""
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(1.0)),
            (b"seta 3 1.500000\r\n", None),
        ]
    )
    with (
        link_to(instrument) as link,
        pytest.raises(InstrumentError, match=r"closed by the instrument.*'seta 3 1\.500000'"),
    ):
        axis_of(link).set_voltage(2.0)


def test_a_setting_that_did_not_arrive_is_an_error(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("off")),
            (b"geta 3\r\n", volts(10.0)),
            (b"seta 3 10.200000\r\n", OK),
            (b"geta 3\r\n", volts(10.0)),
        ]
    )
    with link_to(instrument) as link, pytest.raises(InstrumentError, match=r"'geta 3', got 10\.0"):
        axis_of(link).set_voltage(10.2)


def test_a_refusal_of_the_controller_is_told_in_its_words(conversation):
    instrument = conversation(
        [*LOGIN, (b"getm 3\r\n", b"Wrong axis type\r\nERROR\r\n")],
    )
    with (
        link_to(instrument) as link,
        pytest.raises(InstrumentError, match=r"'getm 3' was answered with ERROR: Wrong axis type"),
    ):
        axis_of(link).open()


@pytest.mark.parametrize(
    "reply",
    [
        b"voltage = 12,5 V\r\nOK\r\n",
        b"voltage = nan V\r\nOK\r\n",
        b"voltage = 1e999 V\r\nOK\r\n",
        b"voltage = 12.5 mV\r\nOK\r\n",
        b"voltage = 12.5\r\nOK\r\n",
        b"frequency = 12.5 V\r\nOK\r\n",
        b"voltage = 12.5 V\r\nvoltage = 13.5 V\r\nOK\r\n",
        b"voltage = 1_2.5 V\r\nOK\r\n",
        b"OK\r\n",
    ],
)
def test_a_garbled_value_is_an_error_that_shows_it(conversation, reply):
    instrument = conversation([*LOGIN, (b"geto 3\r\n", reply)])
    with link_to(instrument) as link, pytest.raises(InstrumentError, match=r"asked 'geto 3', got"):
        axis_of(link).voltage()


def test_inconsistent_line_endings_of_the_device(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 3\r\n", mode("gnd")),
            (b"getf 3\r\n", b"frequency = 111 Hz\n\r\nOK\r\n"),
            (b"getv 3\r\n", volts(30.0)),
            (b"geto 3\r\n", volts(0.0)),
        ]
    )
    with link_to(instrument) as link:
        stepper = StepperAxis(link, axis=3, frequency_Hz=111, amplitude_V=30.0, max_steps=10)
        assert stepper.snapshot()["frequency_Hz"] == 111


@pytest.mark.parametrize("foreign", ["inp", "cap"])
def test_an_axis_that_something_else_drives_is_not_taken(conversation, foreign):
    instrument = conversation([*LOGIN, (b"getm 3\r\n", mode(foreign))])
    with link_to(instrument) as link, pytest.raises(RefusedError, match=f"mode '{foreign}'"):
        axis_of(link).set_voltage(1.0)


def test_an_unknown_mode_is_an_error(conversation):
    instrument = conversation([*LOGIN, (b"getm 3\r\n", mode("xyz"))])
    with link_to(instrument) as link, pytest.raises(InstrumentError, match="'xyz'"):
        axis_of(link).set_voltage(1.0)


def test_a_wrong_password_is_said_and_not_shown(lab):
    with AttocubeEmulator(lab) as served:
        link = ANC300(served.address, password="open sesame", timeout_s=1.0)
        with pytest.raises(InstrumentError, match="password was not accepted") as caught:
            link.open()
        assert "sesame" not in str(caught.value)


def test_the_password_comes_from_the_environment(lab, monkeypatch):
    monkeypatch.setenv("LAB_PW", "123456")
    with AttocubeEmulator(lab) as served, ANC300(served.address, password="env:LAB_PW") as link:
        assert link.identify().model == "ANC300"
    monkeypatch.delenv("LAB_PW")
    with pytest.raises(UsageError, match="environment variable LAB_PW is not set"):
        ANC300("tcp://h:1", password="env:LAB_PW")
    for wrong in ("", 123456):
        with pytest.raises(UsageError, match="password"):
            ANC300("tcp://h:1", password=wrong)  # type: ignore[arg-type]


def test_off_means_that_the_offset_is_on(lab):
    """An old offset is not switched on with a jump."""
    with AttocubeEmulator(lab) as served, ANC300(served.address, password="123456") as link:
        link.do("seta 3 35")
        assert lab.piezo_voltage(3) == 0.0
        axis = axis_of(link)
        axis.set_voltage(0.2)
        assert max(v for _, v in lab.history) <= 0.2
        assert axis.snapshot() == {"mode": "off", "offset_V": 0.2, "output_V": 0.2}
        axis.make_safe()
        assert axis.snapshot() == {"mode": "gnd", "offset_V": 0.0, "output_V": 0.0}


def stepper_of(link: ANC300, **kwargs) -> StepperAxis:
    given = {"axis": 1, "frequency_Hz": 1000, "amplitude_V": 30.0, "max_steps": 100, **kwargs}
    return StepperAxis(link, **given)


def test_steps_byte_for_byte(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 1\r\n", mode("gnd")),
            (b"setf 1 200\r\n", OK),
            (b"setv 1 25.000000\r\n", OK),
            (b"getm 1\r\n", mode("gnd")),
            (b"getf 1\r\n", b"frequency = 200 Hz\n\r\nOK\r\n"),
            (b"getv 1\r\n", volts(25.0)),
            (b"geto 1\r\n", volts(0.0)),
            (b"setm 1 stp\r\n", OK),
            (b"getm 1\r\n", mode("stp")),
            (b"stepd 1 7\r\n", OK),
            (b"stepw 1\r\n", OK),
            (b"setm 1 gnd\r\n", OK),
            (b"getm 1\r\n", mode("gnd")),
        ]
    )
    with link_to(instrument) as link:
        stepper_of(link, frequency_Hz=200, amplitude_V=25.0).step(-7)


def test_steps_up_and_down(lab):
    with AttocubeEmulator(lab) as served, ANC300(served.address, password="123456") as link:
        stepper = stepper_of(link, frequency_Hz=1000.0)
        stepper.step(100)
        stepper.step(-30)
        stepper.step(0)
        assert lab.steps == {1: 70}
        assert stepper.snapshot()["mode"] == "gnd"


@pytest.mark.parametrize("n", [101, -101])
def test_more_steps_than_allowed_are_refused(lab, n):
    with (
        AttocubeEmulator(lab) as served,
        ANC300(served.address, password="123456") as link,
        pytest.raises(RefusedError, match="max_steps allows -100 to 100 steps"),
    ):
        stepper_of(link).step(n)
    assert lab.steps == {}


def test_stepping_does_not_take_an_offset_away_in_one_jump(lab):
    with AttocubeEmulator(lab) as served, ANC300(served.address, password="123456") as link:
        OffsetAxis(link, axis=1, limits_V=[0, 60], slew_V_per_s=5000.0).set_voltage(20.0)
        stepper = stepper_of(link)
        with pytest.raises(RefusedError, match="has an offset of 20 V"):
            stepper.step(1)
        assert lab.piezo_voltage(1) == 20.0


def test_an_interrupted_motion_is_stopped(conversation):
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 1\r\n", mode("gnd")),
            (b"setf 1 1000\r\n", OK),
            (b"setv 1 30.000000\r\n", OK),
            (b"getm 1\r\n", mode("gnd")),
            (b"getf 1\r\n", b"frequency = 1000 Hz\r\nOK\r\n"),
            (b"getv 1\r\n", volts(30.0)),
            (b"geto 1\r\n", volts(0.0)),
            (b"setm 1 stp\r\n", OK),
            (b"getm 1\r\n", mode("stp")),
            (b"stepu 1 5\r\n", OK),
            (b"stepw 1\r\n", None),
        ],
        [*LOGIN, (b"getm 1\r\n", mode("stp")), (b"stop 1\r\n", OK)],
    )
    with (
        link_to(instrument) as link,
        pytest.raises(InstrumentError, match=r"closed by the instrument.*'stepw 1'"),
    ):
        stepper_of(link).step(5)


def test_make_safe_of_a_stepper_takes_an_offset_away_slowly(conversation, monkeypatch):
    waits = []
    monkeypatch.setattr("qdchar.drivers._ramp.time.sleep", waits.append)
    instrument = conversation(
        [
            *LOGIN,
            (b"getm 1\r\n", mode("stp+")),
            (b"stop 1\r\n", OK),
            (b"geta 1\r\n", volts(1.0)),
            (b"seta 1 0.500000\r\n", OK),
            (b"seta 1 0.000000\r\n", OK),
            (b"setm 1 gnd\r\n", OK),
            (b"getm 1\r\n", mode("gnd")),
            (b"seta 1 0.000000\r\n", OK),
        ]
    )
    with link_to(instrument) as link:
        stepper_of(link).make_safe()
    assert sum(waits) == pytest.approx(0.1, abs=0.05)  # 1 V at 10 V/s, less the wire's own time


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("axis", 0),
        ("axis", 8),
        ("axis", "3"),
        ("axis", True),
        ("frequency_Hz", 0),
        ("frequency_Hz", 20_000),
        ("frequency_Hz", 0.5),
        ("amplitude_V", 0.0),
        ("amplitude_V", 151.0),
        ("max_steps", 0),
        ("max_steps", 1.5),
    ],
)
def test_a_steppers_values_are_checked(key, value):
    link = ANC300("tcp://127.0.0.1:7230", password="x")
    with pytest.raises(UsageError, match=f"{key} = "):
        stepper_of(link, **{key: value})


def test_an_axis_needs_the_right_kind_of_link():
    with pytest.raises(UsageError, match="link"):
        OffsetAxis("anc", axis=3, limits_V=[0, 60], slew_V_per_s=1.0)  # type: ignore[arg-type]


def test_two_axes_share_a_link_from_two_threads(lab):
    with AttocubeEmulator(lab) as served, ANC300(served.address, password="123456") as link:
        axes = [OffsetAxis(link, axis=n, limits_V=[0, 60], slew_V_per_s=5000.0) for n in (1, 2, 3)]
        threads = [
            threading.Thread(target=axis.set_voltage, args=(10.0 * k + 10.0,))
            for k, axis in enumerate(axes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lab.volts == {1: 10.0, 2: 20.0, 3: 30.0}
