"""What every driver has to do, whatever its role: one suite for all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from qdchar import roles
from qdchar.drivers.attocube_anc300 import ANC300, OffsetAxis, StepperAxis
from qdchar.drivers.elliptec_ell14 import WavePlateAnalyser
from qdchar.drivers.keysight_33500 import Keysight33500
from qdchar.drivers.keysight_n776x import N776x
from qdchar.drivers.optical_switch import OpticalSwitch
from qdchar.drivers.tag_stream import TagStream
from qdchar.drivers.thorlabs_mdt69x import MDT69x
from qdchar.drivers.thorlabs_pm100 import PM100
from qdchar.drivers.twin import emulators
from qdchar.errors import InstrumentError, UsageError

STATES_V = {"H": [0.0, 0.0], "V": [2.5, 0.0]}
POSITIONS = {"before": 1, "after": 2, "laser": 3, "narrow": 4, "blocked": 5}

DRIVERS = {
    "anc300": (emulators.AttocubeEmulator, lambda at: ANC300(at, password="123456", timeout_s=0.5)),
    "pm100": (
        emulators.PowerMeterEmulator,
        lambda at: PM100(at, wavelength_m=884.5e-9, timeout_s=0.5),
    ),
    "n776x": (
        emulators.AttenuatorEmulator,
        lambda at: N776x(at, limits_dB=[0, 50], wavelength_m=884.5e-9, timeout_s=0.5),
    ),
    "mdt69x": (
        emulators.EtalonPiezoEmulator,
        lambda at: MDT69x(at, limits_V=[0, 100], slew_V_per_s=1000.0, timeout_s=0.5),
    ),
    "switch": (
        emulators.SwitchEmulator,
        lambda at: OpticalSwitch(at, positions=POSITIONS, timeout_s=0.5),
    ),
    "tagger": (emulators.TaggerEmulator, lambda at: TagStream(at, timeout_s=0.5)),
    "modulator": (
        emulators.ModulatorEmulator,
        lambda at: Keysight33500(at, states=STATES_V, limits_V=[-5, 5], timeout_s=0.5),
    ),
    "analyser": (
        emulators.AnalyserEmulator,
        lambda at: WavePlateAnalyser(at, zeros_deg=[0.0, 0.0], timeout_s=0.5),
    ),
}
every_driver = pytest.mark.parametrize(("emulator", "make"), DRIVERS.values(), ids=DRIVERS)


@every_driver
def test_opens_in_a_with_and_identifies_as_simulated(lab, emulator, make):
    with emulator(lab) as served, make(served.address) as driver:
        who = driver.identify()
        assert who.simulated
        assert who.address == served.address
        assert "0042" in who.serial
        assert who.vendor
        assert who.model
        assert who.firmware


@every_driver
def test_opening_and_closing_change_nothing(lab, emulator, make):
    lab.shutter_open = True
    lab.etalon_V = 12.0
    before = dict(vars(lab))
    with emulator(lab) as served:
        driver = make(served.address)
        driver.open()
        driver.open()
        driver.identify()
        assert dict(driver.snapshot())
        driver.close()
        driver.close()
    after = dict(vars(lab))
    del before["time_s"], after["time_s"]
    assert after == before


@every_driver
def test_closed_driver_says_that_it_is_not_open(lab, emulator, make):
    with emulator(lab) as served:
        driver = make(served.address)
        with pytest.raises(InstrumentError, match="not open"):
            driver.identify()


@every_driver
def test_reopens_after_close(lab, emulator, make):
    with emulator(lab) as served:
        driver = make(served.address)
        for _ in range(3):
            driver.open()
            assert driver.identify().simulated
            driver.close()


@every_driver
def test_a_query_survives_a_restart_of_the_instrument(lab, emulator, make):
    served = emulator(lab).start()
    with make(served.address) as driver:
        served.stop()
        again = emulator(lab, port=served.port).start()
        try:
            assert driver.identify().simulated
            assert dict(driver.snapshot())
        finally:
            again.stop()


@every_driver
def test_nothing_listens(emulator, make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(InstrumentError, match=rf"127\.0\.0\.1:{port}.*nothing listens") as caught:
        make(f"tcp://127.0.0.1:{port}").open()
    assert caught.value.exit_code == 20


@every_driver
def test_an_instrument_that_hangs_up_is_not_called_a_timeout(emulator, make):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # the test is over
                for _ in range(2):  # a query is asked once more
                    client, _ = listening.accept()
                    with client:
                        client.recv(10)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        driver = make(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(InstrumentError, match="closed by the instrument"):
            driver.open()
        driver.close()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5.0)


@every_driver
def test_an_instrument_that_says_nothing_is_bounded_in_time(emulator, make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(InstrumentError, match=r"no answer to .* within 0\.5 s"):
            make(f"tcp://127.0.0.1:{silent.getsockname()[1]}").open()
        assert time.monotonic() - started < 4.0  # 0.5 s, and 1 s for a banner, on a busy machine


@every_driver
@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00garbage\r\n", b"\r\n", b"HTTP/1.1 400 Bad\r\n"])
def test_another_program_on_the_port_is_found_out(emulator, make, garbage):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopping = threading.Event()

        def talk() -> None:
            while not stopping.is_set():
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(0.3)
                    try:
                        while client.recv(1000):
                            client.sendall(garbage)
                    except OSError:
                        pass

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        driver = make(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(InstrumentError, match=r"127\.0\.0\.1"):
            driver.open()
        driver.close()
        stopping.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5.0)


@pytest.mark.parametrize(
    ("driver", "emulator", "found"),
    [
        ("pm100", emulators.AttenuatorEmulator, "N7761A"),
        ("n776x", emulators.PowerMeterEmulator, "PM100D"),
        ("switch", emulators.AttenuatorEmulator, "N7761A"),
    ],
)
def test_the_wrong_instrument_on_a_port_is_named(lab, driver, emulator, found):
    with emulator(lab) as served, pytest.raises(InstrumentError, match=f"{found} answers there"):
        DRIVERS[driver][1](served.address).open()


@every_driver
@pytest.mark.parametrize(
    "address",
    [
        "tcp://h:0",
        "10.0.0.5:7230",
        "tcp://10.0.0.5",
        "tcp://:7230",
        "tcp://h:7230/x",
        "tcp://h:99999",
        7,
        "",
    ],
)
def test_an_address_is_checked(emulator, make, address):
    with pytest.raises(UsageError, match=r"address = .*tcp://HOST:PORT"):
        make(address)


@every_driver
def test_a_name_that_nobody_knows(emulator, make):
    with pytest.raises(InstrumentError, match=r"'no-such-host\.invalid' cannot be found"):
        make("tcp://no-such-host.invalid:7230").open()


@every_driver
def test_several_clients_are_served_at_once(lab, emulator, make):
    with emulator(lab) as served:
        drivers = [make(served.address) for _ in range(4)]
        for driver in drivers:
            driver.open()
        wrong = []

        def ask(driver) -> None:
            for _ in range(20):
                if not driver.identify().simulated:
                    wrong.append(driver)

        threads = [threading.Thread(target=ask, args=(d,)) for d in drivers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for driver in drivers:
            driver.close()
        assert not wrong


@pytest.mark.parametrize(
    ("driver", "role"),
    [
        (OffsetAxis, roles.VoltageAxis),
        (MDT69x, roles.VoltageAxis),
        (StepperAxis, roles.StepAxis),
        (PM100, roles.PowerMeter),
        (N776x, roles.Attenuator),
        (OpticalSwitch, roles.LightPath),
        (Keysight33500, roles.PolarisationModulator),
        (WavePlateAnalyser, roles.PolarisationAnalyser),
        (TagStream, roles.TimeTagger),
    ],
)
def test_a_driver_has_what_its_role_asks_for(driver, role):
    wanted = {name for name in dir(role) if not name.startswith("_")}
    assert wanted <= set(dir(driver))
