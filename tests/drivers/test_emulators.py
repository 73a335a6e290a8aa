"""The emulators, spoken to as other people's drivers do.

The exchanges are those that pymeasure's ANC300Controller and ThorlabsPM100USB make.
"""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from qdchar.drivers.twin import emulators
from qdchar.drivers.twin.emulators.emulator import header
from qdchar.errors import InstrumentError


class Terminal:
    """A raw connection, line by line."""

    def __init__(self, served, ending: str = "\n") -> None:
        self.socket = socket.create_connection((served.host, served.port), timeout=5.0)
        self.file = self.socket.makefile("rwb")
        self.ending = ending

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()
        self.socket.close()

    def write(self, text: str) -> None:
        self.file.write(f"{text}{self.ending}".encode())
        self.file.flush()

    def read(self) -> str:
        return self.file.readline().decode(errors="replace").rstrip("\r\n")

    def ask(self, text: str) -> str:
        self.write(text)
        return self.read()

    def says_nothing(self) -> bool:
        self.socket.settimeout(0.05)
        try:
            return not self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5.0)


@contextlib.contextmanager
def anc(served):
    with Terminal(served, "\r\n") as terminal:
        banner = b""
        while not banner.endswith(b"Authorization code: "):
            banner += terminal.socket.recv(100)
        yield terminal


def logged_in(terminal) -> None:
    assert terminal.ask("123456") == "******"
    assert terminal.read() == "Authorization success"
    assert terminal.ask("echo off") == "> echo off"
    assert terminal.read() == "OK"


def test_anc300_as_pymeasure_speaks_to_it(lab):
    with emulators.AttocubeEmulator(lab) as served, anc(served) as terminal:
        logged_in(terminal)
        for asked, answered in [
            ("setm 1 stp", ["OK"]),
            ("stepu 1 15", ["OK"]),
            ("getf 1", ["frequency = 1000 Hz", "", "OK"]),
            ("stepw 1", ["OK"]),
            ("getc 1", ["capacitance = 998.900000 nF", "OK"]),
            ("setm 2 cap", ["OK"]),
            ("capw 2", ["capacitance = 0.000000 nF", "OK"]),
            ("setm 3 off", ["OK"]),
            ("seta 3 12.500", ["OK"]),
            ("geta 3", ["voltage = 12.500000 V", "OK"]),
            ("geto 3", ["voltage = 12.500000 V", "OK"]),
            ("setm 3 gnd", ["OK"]),
            ("geto 3", ["voltage = 0.000000 V", "OK"]),
            ("stop 3", ["OK"]),
        ]:
            terminal.write(asked)
            assert [terminal.read() for _ in answered] == answered, asked
        assert lab.steps == {1: 15}
        assert lab.time_s >= 15e-3  # the steps take their time


@pytest.mark.parametrize(
    "asked",
    [
        "seta 3 150.1",
        "seta 3 -1",
        "seta 3 x",
        "setv 1 200",
        "setf 1 0",
        "setf 1 10001",
        "geta 4",
        "geta",
        "setm 1 on",
        "stepu 1 0",
        "stepu 2 5",
        "fly",
        "",
    ],
)
def test_anc300_refuses_with_error(lab, asked):
    with emulators.AttocubeEmulator(lab) as served, anc(served) as terminal:
        logged_in(terminal)
        terminal.write("setm 1 stp")
        assert terminal.read() == "OK"
        terminal.write(asked)
        assert terminal.read()
        assert terminal.read() == "ERROR"
        assert terminal.ask("getm 1") == "mode = stp"


def test_anc300_asks_again_after_a_wrong_password(lab):
    with emulators.AttocubeEmulator(lab) as served, anc(served) as terminal:
        assert terminal.ask("guess") == "*****"
        assert terminal.read() == "Authorization failed"
        terminal.write("123456")
        assert terminal.read() == "Authorization code: ******"
        assert terminal.read() == "Authorization success"


def test_anc300_steps_without_end_until_stopped(lab):
    with emulators.AttocubeEmulator(lab) as served, anc(served) as terminal:
        logged_in(terminal)
        for asked in ("setm 1 stp", "setf 1 10000", "stepd 1 c"):
            assert terminal.ask(asked) == "OK"
        time.sleep(0.02)
        assert terminal.ask("stop 1") == "OK"
        assert lab.steps[1] < -100


def test_pm100_as_pymeasure_speaks_to_it(lab):
    with emulators.PowerMeterEmulator(lab) as served, Terminal(served) as terminal:
        name, serial, _, kind, _, flags = terminal.ask("SYST:SENSOR:IDN?").split(",")
        assert (name, serial, kind) == ("S130C", "0042", "1")
        assert int(flags) & 1  # a power sensor
        assert int(flags) & 32  # whose wavelength can be set
        assert float(terminal.ask("SENS:CORR:WAV? MIN")) == 400.0
        assert float(terminal.ask("SENS:CORR:WAV? MAX")) == 1100.0
        terminal.write("SENSE:CORR:WAV 884.5")
        assert float(terminal.ask("SENSE:CORR:WAV?")) == 884.5
        assert float(terminal.ask("MEAS:POW?")) == 1e-6
        assert terminal.ask("SYST:ERR?") == '+0,"No error"'


def test_scpi_errors_queue_up_and_unanswered_questions_stay_unanswered(lab):
    with emulators.PowerMeterEmulator(lab) as served, Terminal(served) as terminal:
        terminal.write("SENS:CORR:WAV 2500")
        terminal.write("NONSENSE?")
        terminal.write("SENS:CORR:WAV blue")
        assert terminal.says_nothing()
        assert terminal.ask("SYST:ERR?") == '-222,"Data out of range"'
        assert terminal.ask("SYST:ERR?") == '-113,"Undefined header"'
        assert terminal.ask("SYST:ERR:NEXT?") == '-104,"Data type error"'
        assert terminal.ask("SYST:ERR?") == '+0,"No error"'
        assert float(terminal.ask("SENS:CORR:WAV?")) == 635.0


def test_several_scpi_commands_on_a_line(lab):
    with emulators.AttenuatorEmulator(lab) as served, Terminal(served) as terminal:
        assert terminal.ask(":INP1:ATT 14dB;:OUTP1 ON;:INP1:ATT?;:OUTP1:STAT?") == (
            "+1.40000000E+01;1"
        )
        assert lab.attenuation_dB == 14.0
        assert lab.shutter_open


def test_attenuator_spellings(lab):
    with emulators.AttenuatorEmulator(lab) as served, Terminal(served) as terminal:
        terminal.write(":INPUT1:CHANNEL1:ATTENUATION 20")
        terminal.write("INP:WAV 884.5NM")
        assert float(terminal.ask("inp1:att?")) == 20.0
        assert float(terminal.ask("INP1:ATT? MAX")) == 60.0
        assert float(terminal.ask("INP1:WAV?")) == pytest.approx(884.5e-9)
        terminal.write("INP1:WAV +1.55000000E-006")
        assert float(terminal.ask("INP1:WAV?")) == pytest.approx(1.55e-6)
        terminal.write("INP1:ATT 61")
        assert terminal.ask("SYST:ERR?").startswith("-222")
        terminal.write("OUTP1 maybe")
        assert terminal.ask("SYST:ERR?").startswith("-224")


def test_switch_routes(lab):
    with emulators.SwitchEmulator(lab) as served, Terminal(served) as terminal:
        terminal.write("rout1:chan1 A,2")
        assert terminal.ask("ROUT1:CHAN1?") == "A,2"
        assert lab.path == "after"
        assert terminal.ask("ROUT1:CHAN1:CONF?") == "A,A;1,7"
        terminal.write("ROUT1:CHAN1 A,9")
        assert terminal.ask("SYST:ERR?").startswith("-224")


def test_second_switch_turns_the_polarisation_of_an_arm(lab):
    with emulators.SwitchEmulator(lab) as served, Terminal(served) as terminal:
        assert terminal.ask("ROUT2:CHAN1?") == "A,1"
        terminal.write("ROUT2:CHAN1 A,2")
        assert terminal.ask("ROUT2:CHAN1?") == "A,2"
        assert (lab.arms, lab.path) == ("orthogonal", "blocked")
        assert terminal.ask("ROUT2:CHAN1:CONF?") == "A,A;1,2"


def test_phase_piezo_is_another_one_of_the_same_kind(lab):
    with emulators.PhasePiezoEmulator(lab) as served, Terminal(served, "\r") as terminal:
        terminal.write("XV40.000")
        terminal.write("XR?")
        want = b"XV40.000\r*XR?\r*[ 40.000]\r"
        got = b""
        while len(got) < len(want):
            got += terminal.socket.recv(100)
        assert got == want
        assert (lab.phase_V, lab.etalon_V) == (40.0, 0.0)


def test_etalon_piezo_with_and_without_echo(lab):
    with emulators.EtalonPiezoEmulator(lab) as served, Terminal(served, "\r") as terminal:
        terminal.write("XV12.500")
        terminal.write("XR?")
        terminal.write("E")
        terminal.write("XR?")
        terminal.write("XV151")
        terminal.write("ZV1")
        want = b"XV12.500\r*XR?\r*[ 12.500]\rE\r*[Echo Off]\r*[ 12.500]\r!!"
        got = b""
        while len(got) < len(want):
            got += terminal.socket.recv(100)
        assert got == want
        assert lab.etalon_V == 12.5


@pytest.mark.parametrize(
    ("specification", "spoken", "fits"),
    [
        ("SYSTem:ERRor[:NEXT]?", "SYST:ERR?", True),
        ("SYSTem:ERRor[:NEXT]?", ":system:error:next?", True),
        ("SYSTem:ERRor[:NEXT]?", "SYST:ERR", False),
        ("SYSTem:ERRor[:NEXT]?", "SYSTE:ERR?", False),
        ("INPut1:ATTenuation", "INP:ATT", True),
        ("INPut1:ATTenuation", "INP2:ATT", False),
        ("*IDN?", "*IDN?", True),
        ("*IDN?", "IDN?", False),
    ],
)
def test_scpi_headers(specification, spoken, fits):
    assert bool(header(specification).fullmatch(spoken)) is fits


def test_a_port_that_is_taken_is_said(lab):
    with (
        emulators.SwitchEmulator(lab) as served,
        pytest.raises(InstrumentError, match=rf"127\.0\.0\.1:{served.port}.*served already"),
    ):
        emulators.SwitchEmulator(lab, port=served.port)


def test_a_port_can_be_served_again_at_once(lab):
    served = emulators.SwitchEmulator(lab).start()
    with Terminal(served) as terminal:
        assert terminal.ask("ROUT1:CHAN1?") == "A,5"
        served.stop()
        served.stop()
    with emulators.SwitchEmulator(lab, port=served.port) as again, Terminal(again) as terminal:
        assert terminal.ask("ROUT1:CHAN1?") == "A,5"


def test_an_emulator_that_was_never_started_closes(lab):
    emulators.TaggerEmulator(lab).stop()
