"""The optical switch as the selector of the light path."""

from __future__ import annotations

import pytest

from qdchar.drivers.optical_switch import OpticalSwitch
from qdchar.drivers.twin.emulators import SwitchEmulator
from qdchar.errors import InstrumentError, UsageError

POSITIONS = {"before": 1, "after": 2, "laser": 3, "narrow": 4, "blocked": 5}
IDN = (b"*IDN?\n", b"Keysight Technologies,N7731A,MY1,1.19\n")


def test_selects_every_position(lab):
    with (
        SwitchEmulator(lab) as served,
        OpticalSwitch(served.address, positions=POSITIONS) as switch,
    ):
        assert switch.selected() == "blocked"
        for position in POSITIONS:
            switch.select(position)
            assert switch.selected() == position == lab.path


def test_selects_byte_for_byte(conversation):
    instrument = conversation(
        [
            IDN,
            (b"ROUT2:CHAN1?\n", b"A,1\n"),
            (b"*CLS\nROUT2:CHAN1 A,4\n*OPC?\n", b"1\n"),
            (b"SYST:ERR?\n", b'+0,"No error"\n'),
            (b"ROUT2:CHAN1?\n", b"A,4\n"),
            (b"ROUT2:CHAN1?\n", b"A,4\n"),
        ],
        cut=3,
    )
    with OpticalSwitch(instrument.address, positions=POSITIONS, slot=2) as switch:
        switch.select("narrow")
        switch.select("narrow")  # nothing to do


def test_a_position_without_a_name_is_refused(lab):
    positions = {"before": 1, "after": 2}
    with (
        SwitchEmulator(lab) as served,
        OpticalSwitch(served.address, positions=positions) as switch,
    ):
        assert switch.selected() == ""
        with pytest.raises(UsageError, match=r"'narrow' was asked for.*before, after; nothing was"):
            switch.select("narrow")
        assert lab.path == "blocked"
        switch.select("after")
        assert lab.path == "after"


def test_a_port_that_the_switch_lacks_is_its_own_error(lab):
    positions = {"before": 1, "after": 9}
    with (
        SwitchEmulator(lab) as served,
        OpticalSwitch(served.address, positions=positions) as switch,
        pytest.raises(InstrumentError, match="Illegal parameter value"),
    ):
        switch.select("after")


def test_a_switch_that_does_not_move_is_an_error(conversation):
    instrument = conversation(
        [
            IDN,
            (b"ROUT1:CHAN1?\n", b"A,1\n"),
            (b"*CLS\nROUT1:CHAN1 A,4\n*OPC?\n", b"1\n"),
            (b"SYST:ERR?\n", b'+0,"No error"\n'),
            (b"ROUT1:CHAN1?\n", b"A,1\n"),
        ]
    )
    with (
        OpticalSwitch(instrument.address, positions=POSITIONS) as switch,
        pytest.raises(InstrumentError, match="'narrow' was selected, but it reports 'before'"),
    ):
        switch.select("narrow")


@pytest.mark.parametrize("reply", [b"\n", b"B,1\n", b"A,1;B,2\n", b"A,one\n", b"1\n"])
def test_a_garbled_route_is_an_error_that_shows_it(conversation, reply):
    instrument = conversation([IDN, (b"ROUT1:CHAN1?\n", reply)])
    with (
        OpticalSwitch(instrument.address, positions=POSITIONS) as switch,
        pytest.raises(InstrumentError, match=r"instead of a route such as 'A,2'"),
    ):
        switch.selected()


def test_waits_for_what_follows_the_switch(lab, monkeypatch):
    waits = []
    monkeypatch.setattr("qdchar.drivers.optical_switch.time.sleep", waits.append)
    with (
        SwitchEmulator(lab) as served,
        OpticalSwitch(served.address, positions=POSITIONS, settle_s=0.3) as switch,
    ):
        switch.select("after")
        switch.select("after")
    assert waits == [0.3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("positions", {}),
        ("positions", ["before"]),
        ("positions", {"before": 1, "after": 1}),
        ("positions.before", {"before": 0}),
        ("positions.before", {"before": "1"}),
        ("slot", 0),
        ("channel", 9),
        ("settle_s", -1.0),
    ],
)
def test_values_of_the_station_file_are_checked(key, value):
    given = {"positions": POSITIONS, key.split(".")[0]: value}
    with pytest.raises(UsageError, match=f"{key} = "):
        OpticalSwitch("tcp://127.0.0.1:1", **given)
