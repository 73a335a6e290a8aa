"""The station, with fake drivers: what is refused, and how it is left on every way out."""

from __future__ import annotations

import os
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qdchar.errors import InstrumentError, MakeSafeError, UsageError
from qdchar.interrupt import Terminated
from qdchar.lab.station import Station, load_station
from qdchar.roles import Identity, VoltageAxis


class FakeAxis:
    """A piezo that writes down what was done to it."""

    log: ClassVar[list[str]] = []
    fails: ClassVar[set[str]] = set()

    def __init__(self, address: str, *, limits_V: list[float], name: str = "axis") -> None:
        if limits_V[0] >= limits_V[1]:
            raise ValueError("limits_V: the lower limit comes first")
        self.limits_V, self.name = limits_V, name

    def _note(self, what: str) -> None:
        self.log.append(f"{self.name}.{what}")
        if what in self.fails:
            raise InstrumentError(f"{what} failed")

    def open(self) -> None:
        self._note("open")

    def close(self) -> None:
        self._note("close")

    def make_safe(self) -> None:
        self._note("make_safe")

    def identify(self) -> Identity:
        return Identity("v", "m", "s", "f", "a", False)

    def snapshot(self) -> dict[str, float]:
        return {"voltage_V": 1.0}

    def check(self, *voltages_V: float) -> None: ...

    def set_voltage(self, voltage_V: float) -> None: ...

    def voltage(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _fake_driver() -> Iterator[None]:
    module = types.ModuleType("fake_driver")
    module.FakeAxis = FakeAxis  # type: ignore[attr-defined]
    module.NoAxis = type("NoAxis", (), {"__init__": lambda self, address: None})  # type: ignore[attr-defined]
    sys.modules["fake_driver"] = module
    FakeAxis.log.clear()
    FakeAxis.fails.clear()
    yield
    del sys.modules["fake_driver"]


def _station(tmp_path: Path, **roles: str) -> Station:
    text = 'name = "lab"\nsource = "QD7"\nwavelength_m = 884.5e-9\nnominal_clock_Hz = 76.13e6\n'
    for name, more in (roles or {"cavity_fine": ""}).items():
        text += f'[roles.{name}]\ndriver = "fake_driver:FakeAxis"\naddress = "tcp://x:1"\n'
        text += f'limits_V = [0.0, 60.0]\nname = "{name}"\n{more}\n'
    return _load(tmp_path, text)


def _load(tmp_path: Path, text: str) -> Station:
    file = tmp_path / "station.toml"
    file.write_text(text)
    return load_station(file, say=lambda _: None)


_HEAD = 'name = "lab"\nsource = "Q"\nwavelength_m = 884.5e-9\nnominal_clock_Hz = 76.13e6\n'
_ROLE = (
    '[roles.c]\ndriver = "fake_driver:FakeAxis"\naddress = "tcp://x:1"\nlimits_V = [0.0, 60.0]\n'
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_HEAD.replace("884.5e-9", "-1.0") + _ROLE, "wavelength_m"),
        (_HEAD + "colour = 1\n" + _ROLE, "colour"),
        (_HEAD + _ROLE + "colour = 1\n", r"roles.c: unknown key 'colour'.*takes limits_V, name"),
        (_HEAD + _ROLE.replace("limits_V", "limits"), "unknown key 'limits'"),
        (_HEAD + _ROLE.replace("limits_V = [0.0, 60.0]", ""), "key 'limits_V' is missing"),
        (_HEAD + _ROLE.replace("[0.0, 60.0]", "[60.0, 0.0]"), "the lower limit comes first"),
        (_HEAD + _ROLE.replace("FakeAxis", "Nothing"), "Nothing"),
        (_HEAD + _ROLE.replace("fake_driver:FakeAxis", "fake_driver"), "package.module:Name"),
        (_HEAD + _ROLE.replace("fake_driver:FakeAxis", "os:system"), "'os:system' is no class"),
        (_HEAD + _ROLE.replace('address = "tcp://x:1"', 'link = "anc"'), "link 'anc'"),
        (_HEAD + _ROLE + 'on_error = "explode"\n', "on_error"),
        (_HEAD + _ROLE + 'name = "env:QDCHAR_NOT_SET"\n', "QDCHAR_NOT_SET is not set"),
        (_HEAD, "roles"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_wrong_station_file_is_refused_by_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _load(tmp_path, text)
    assert FakeAxis.log == []


def test_a_missing_role_and_a_poor_fit_are_named(tmp_path: Path) -> None:
    with (
        _station(tmp_path) as station,
        pytest.raises(UsageError, match=r"\[roles.etalon_piezo\] \(VoltageAxis\) is missing"),
    ):
        station.role("etalon_piezo", VoltageAxis)
    text = _HEAD + '[roles.c]\ndriver = "fake_driver:NoAxis"\naddress = "tcp://x:1"\n'
    with pytest.raises(UsageError, match="does not fit as VoltageAxis: it has no"):
        _load(tmp_path, text).role("c", VoltageAxis)


def test_a_missing_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[calibrations.detector_efficiency\] is missing"):
        _station(tmp_path).calibration("detector_efficiency")


def _leave(tmp_path: Path, error: BaseException | None) -> list[str]:
    policies = 'on_success = "hold"\non_error = "ramp_ground"\non_interrupt = "hold"'
    station = _station(tmp_path, used=policies, unused=policies)
    try:
        with station:
            station.role("used", VoltageAxis)
            if error is not None:
                raise error
    except (KeyError, KeyboardInterrupt, Terminated):
        pass
    return [x for x in FakeAxis.log if x.endswith("make_safe")]


@pytest.mark.parametrize(
    ("error", "made_safe"),
    [
        (None, []),
        (KeyError("x"), ["used.make_safe"]),
        (KeyboardInterrupt(), []),
        (Terminated(), []),
    ],
)
def test_what_was_used_is_left_as_its_policy_says(
    tmp_path: Path, error: BaseException | None, made_safe: list[str]
) -> None:
    assert _leave(tmp_path, error) == made_safe
    assert [x for x in FakeAxis.log if x.endswith("close")]


def test_an_instrument_that_does_not_open_closes_the_others(tmp_path: Path) -> None:
    FakeAxis.fails.add("open")
    with pytest.raises(InstrumentError), _station(tmp_path, a="", b=""):
        pass
    assert FakeAxis.log == ["a.open", "a.close"]


def test_one_failing_make_safe_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    FakeAxis.fails.add("make_safe")

    def fail() -> None:
        with _station(tmp_path, a="", b="") as station:
            station.role("a", VoltageAxis)
            station.role("b", VoltageAxis)
            raise KeyError("x")

    with pytest.raises(MakeSafeError, match=r"MAKE-SAFE FAILED.*a .*b "):
        fail()
    assert FakeAxis.log[-4:] == ["a.make_safe", "b.make_safe", "b.close", "a.close"]


def test_sigterm_unwinds_and_a_second_signal_does_not_stop_the_ramp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_ramp(self: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        self.log.append("ramp finished")

    monkeypatch.setattr(FakeAxis, "make_safe", slow_ramp)
    station = _station(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def terminate() -> None:
        with station:
            station.role("cavity_fine", VoltageAxis)
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([signal.SIGUSR1], 0.1)

    with pytest.raises(Terminated):
        terminate()
    assert "ramp finished" in FakeAxis.log
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_calibration_is_one_shared_error(tmp_path: Path) -> None:
    text = _HEAD + '[calibrations.power_meter_gain]\nvalue = 1.0\nu = 0.005\nunit = "1"\n' + _ROLE
    gain = _load(tmp_path, text).calibration("power_meter_gain")
    assert (gain.value, gain.u) == (1.0, 0.005)
    assert gain.budget[0].kind == "B"


def test_parts_of_a_certificate_are_judged_without_squaring_them(tmp_path: Path) -> None:
    table = '[calibrations.x]\nvalue = 1.0\nu = 5e-200\nunit = "1"\nshared = { a = SHARED }\n'
    station = _load(tmp_path, _HEAD + table.replace("SHARED", "-3e-200") + _ROLE)
    assert station.file.calibrations["x"].u_own == pytest.approx(4e-200)
    with pytest.raises(UsageError, match="more than u"):
        _load(tmp_path, _HEAD + table.replace("SHARED", "1e300") + _ROLE)
