"""Ctrl-C and SIGTERM in the middle of a ramp: the voltage that is left on the piezo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qdchar.drivers import _ramp
from qdchar.drivers._ramp import ramp
from qdchar.drivers.attocube_anc300 import ANC300, OffsetAxis
from qdchar.drivers.twin.emulators import AttocubeEmulator
from qdchar.interrupt import signals_held

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import signal, sys
from qdchar.drivers.attocube_anc300 import ANC300, OffsetAxis

def terminate(number, frame):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, terminate)
with ANC300(sys.argv[1], password="123456") as link:
    axis = OffsetAxis(link, axis=3, limits_V=[0, 60], slew_V_per_s=60.0)
    try:
        print("up", flush=True)
        axis.set_voltage(42.0)
    finally:
        print("down", flush=True)
        axis.make_safe()
        print("safe", flush=True)
"""


@contextlib.contextmanager
def program(address: str):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=REPOSITORY,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("first", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)]
)
def test_a_second_signal_does_not_break_the_way_to_safety(lab, first, code):
    with AttocubeEmulator(lab) as served, program(served.address) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        while lab.piezo_voltage(3) < 6.0:
            time.sleep(0.01)
        process.send_signal(first)
        assert process.stdout.readline() == "down\n"
        before = len(lab.history)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)  # impatient, in the middle of the way down
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20.0)
        with ANC300(served.address, password="123456") as link:
            axis = OffsetAxis(link, axis=3, limits_V=[0, 60], slew_V_per_s=1.0)
            assert axis.snapshot() == {"mode": "gnd", "offset_V": 0.0, "output_V": 0.0}
        assert len(lab.history) - before >= 6.0 / 0.5 - 3  # step by step, not in one jump
        assert process.returncode in (code, 143, -signal.SIGINT, -signal.SIGTERM)


@pytest.fixture
def ctrl_c_raises():
    """Python's own handler, also where the tests run in the background and SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_signals_are_held_back_and_then_delivered():
    reached = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append("end of the block")
        reached.append("not here")
    assert reached == ["end of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c_raises")
def test_nested_blocks_deliver_at_the_outermost_end():
    reached = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with signals_held():
            with signals_held():
                signal.raise_signal(signal.SIGINT)
            reached.append("between the ends")
        reached.append("not here")
    assert reached == ["between the ends"]


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_nothing_to_hold():
    ran = []

    def work() -> None:
        with signals_held():
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]


def test_ramp_in_equal_small_steps(monkeypatch):
    monkeypatch.setattr(_ramp.time, "sleep", lambda _: None)
    points: list[float] = []
    ramp(10.0, 11.2, 1000.0, points.append)
    assert points == pytest.approx([10.4, 10.8, 11.2])
    assert points[-1] == 11.2
    points.clear()
    ramp(1.0, 0.0, 1000.0, points.append)
    assert points == [0.5, 0.0]
    points.clear()
    ramp(3.0, 3.0, 1000.0, points.append)
    assert points == []
