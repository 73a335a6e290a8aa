"""The station with fake instruments: defaults, certificates, ways out, `safe` without a run."""

from __future__ import annotations

import math
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qdchar.errors import InstrumentError, MakeSafeError, UsageError
from qdchar.interrupt import signals_unwind
from qdchar.lab.station import Station, load_station
from qdchar.lab.station_lock import StationLock
from qdchar.roles import Identity, VoltageAxis

HEAD = 'name = "lab"\nsource = "Q"\nwavelength_m = 884.5e-9\nnominal_clock_Hz = 76.13e6\n'


class Axis:
    """A piezo of a vendor's library, which raises its own errors."""

    log: ClassVar[list[str]] = []
    dead: ClassVar[set[str]] = set()

    def __init__(self, address: str, *, limits_V: list[float], name: str) -> None:
        self.address, self.limits_V, self.name = address, limits_V, name

    def open(self) -> None:
        if self.name in self.dead:
            raise InstrumentError(f"{self.name} does not answer")

    def close(self) -> None: ...

    def make_safe(self) -> None:
        self.log.append(f"{self.name} safe")

    def identify(self) -> Identity:
        return Identity("v", "m", "s", "f", "a", False)

    def snapshot(self) -> dict[str, float]:
        return {}

    def check(self, *voltages_V: float) -> None: ...

    def set_voltage(self, voltage_V: float) -> None:
        raise ZeroDivisionError("its library divided by zero")

    def voltage(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _driver() -> Iterator[None]:
    module = types.ModuleType("vendors_driver")
    module.Axis = Axis  # type: ignore[attr-defined]
    sys.modules["vendors_driver"] = module
    Axis.log.clear()
    Axis.dead.clear()
    yield
    del sys.modules["vendors_driver"]


def station(folder: Path, *names: str, more: str = "", keys: str = "") -> Station:
    text = HEAD + more
    for k, name in enumerate(names):
        text += f'[roles.{name}]\ndriver = "vendors_driver:Axis"\n'
        text += (
            f'address = "test {name}"\nlimits_V = [{2 + k}.0, {60 + k}.0]\nname = "{name}"\n{keys}'
        )
    file = folder / "station.toml"
    file.write_text(text)
    return load_station(file, say=lambda _: None)


@pytest.mark.parametrize(
    ("error", "safe"), [(None, []), (KeyError("x"), ["a safe"]), (KeyboardInterrupt(), ["a safe"])]
)
def test_without_a_policy_success_holds_and_all_else_makes_safe(
    tmp_path: Path, error: BaseException | None, safe: list[str]
) -> None:
    try:
        with station(tmp_path, "a", "b") as lab:
            lab.role("a", VoltageAxis)
            lab.look("b", VoltageAxis)  # for looking only: it is left alone
            if error is not None:
                raise error
    except (KeyError, KeyboardInterrupt):
        pass
    assert Axis.log == safe


def test_what_a_vendor_s_library_raises_is_an_instrument_that_failed(tmp_path: Path) -> None:
    says = r"roles\.a: Axis\.set_voltage failed: ZeroDivisionError"
    with pytest.raises(InstrumentError, match=says), station(tmp_path, "a") as lab:
        lab.role("a", VoltageAxis).set_voltage(3.0)


def test_an_error_of_our_own_stays_what_it_is(tmp_path: Path) -> None:
    def fail() -> None:
        with station(tmp_path, "a") as lab:
            lab.role("a", VoltageAxis)
            raise ZeroDivisionError("not an instrument")

    with pytest.raises(ZeroDivisionError):
        fail()


def test_safe_reaches_all_that_answer_and_names_what_does_not(tmp_path: Path) -> None:
    assert station(tmp_path, "a", "b").make_safe() == ["a", "b"]
    assert Axis.log == ["a safe", "b safe"]
    Axis.log.clear()
    Axis.dead.add("a")
    with pytest.raises(MakeSafeError, match=r"a .*does not answer.*Safe: b") as caught:
        station(tmp_path, "a", "b").make_safe()
    assert caught.value.exit_code == 22
    assert Axis.log == ["b safe"]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), ValueError("its library")])
def test_a_make_safe_that_raises_anything_does_not_keep_the_others_from_safety(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def make_safe(axis: Axis) -> None:
        if axis.name == "a":
            raise error
        axis.log.append(f"{axis.name} safe")

    def fail() -> None:
        with station(tmp_path, "a", "b") as lab:
            for name in ("a", "b"):
                lab.role(name, VoltageAxis)
            raise KeyError("x")

    monkeypatch.setattr(Axis, "make_safe", make_safe)
    with pytest.raises(MakeSafeError, match=rf"a .*{type(error).__name__}.*ended with KeyError"):
        fail()
    assert Axis.log == ["b safe"]


def test_ctrl_c_on_the_way_to_safety_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a run that went well: all are safe, and the interrupt is not forgotten."""

    def make_safe(axis: Axis) -> None:
        signal.raise_signal(signal.SIGINT)
        axis.log.append(f"{axis.name} safe")

    def leave() -> None:
        with station(tmp_path, "a", "b", keys='on_success = "make_safe"\n') as lab:
            for name in ("a", "b"):
                lab.role(name, VoltageAxis)

    monkeypatch.setattr(Axis, "make_safe", make_safe)
    with pytest.raises(KeyboardInterrupt):
        leave()
    assert Axis.log == ["a safe", "b safe"]


def test_limits_are_handed_out_lowest_first(tmp_path: Path) -> None:
    lab = station(tmp_path, "a", "b")
    assert (lab.limits("a"), lab.limits("b")) == ((2.0, 60.0), (3.0, 61.0))


def certificate(folder: Path, name: str, text: str) -> Any:
    return station(folder, "a", more=f"[calibrations.{name}]\n{text}\n").calibration(name)


def test_what_certificates_share_is_part_of_u(tmp_path: Path) -> None:
    text = 'value = 0.7\nu = 0.005\nunit = "1"\nshared = { meter = 0.003 }'
    found = certificate(tmp_path, "detector_efficiency", text)
    # 3, 4, 5
    assert {c.source: c.u for c in found.budget} == {
        "calibration detector_efficiency": pytest.approx(0.004),
        "shared calibration meter": 0.003,
    }
    assert found.u == pytest.approx(0.005)
    assert {c.kind for c in found.budget} == {"B"}


def test_a_shared_part_keeps_its_sign(tmp_path: Path) -> None:
    """What raises one certificate may lower another one: they are anticorrelated."""
    text = 'value = 29.0\nu = 0.05\nunit = "dB"\nshared = { meter = -0.03 }'
    found = certificate(tmp_path, "laser_path_attenuation", text)
    assert {c.source: c.u for c in found.budget}["shared calibration meter"] == -0.03
    assert found.u == pytest.approx(0.05)


def test_a_shared_part_larger_than_u_is_refused(tmp_path: Path) -> None:
    text = 'value = 0.7\nu = 0.005\nunit = "1"\nshared = { meter = 0.004, laser = 0.0035 }'
    assert math.hypot(0.004, 0.0035) > 0.005
    with pytest.raises(UsageError, match="the shared parts make more than u"):
        certificate(tmp_path, "detector_efficiency", text)


def test_a_certificate_in_another_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unit is 'MHz', must be 'Hz'"):
        certificate(tmp_path, "etalon_fsr", 'value = 15000.0\nu = 20.0\nunit = "MHz"')


@pytest.mark.parametrize("keys", ['address = "x"\nlink = "anc"\n', ""])
def test_a_role_has_either_an_address_or_a_link(tmp_path: Path, keys: str) -> None:
    link = '[links.anc]\ndriver = "vendors_driver:Axis"\naddress = "test l"\nlimits_V = [0, 1]\n'
    role = f'[roles.a]\ndriver = "vendors_driver:Axis"\n{keys}limits_V = [0.0, 9.0]\nname = "a"\n'
    file = tmp_path / "station.toml"
    file.write_text(f'{HEAD}{link}name = "l"\n{role}')
    with pytest.raises(UsageError, match="give either `address` or `link`"):
        load_station(file)


def test_a_lock_keeps_the_second_out_until_the_first_has_left(tmp_path: Path) -> None:
    """A lock is its open file's, so that two in one process exclude each other, too."""
    first, second = (StationLock(f"lab {k}", ["tcp://anc:7230"], tmp_path) for k in (1, 2))
    first.acquire()
    with pytest.raises(InstrumentError, match="in use by process"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_each_address_of_a_station_is_locked(tmp_path: Path) -> None:
    ours = StationLock("ours", ["tcp://opm:5025", "tcp://anc:7230", "tcp://voa:5025"], tmp_path)
    ours.acquire()
    for address in ("tcp://opm:5025", "tcp://anc:7230", "tcp://voa:5025"):
        with pytest.raises(InstrumentError, match="in use by process"):
            StationLock("theirs", [address], tmp_path).acquire()
    ours.release()


def test_what_moves_is_locked_and_a_tagger_serves_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = station(tmp_path, "a"), station(tmp_path, "a")
    first.reserve()
    with pytest.raises(InstrumentError, match="test a is in use"):
        second.reserve()
    first.release()
    monkeypatch.setattr(Axis, "stream", lambda *_: None, raising=False)
    for lab in (station(tmp_path, "a"), station(tmp_path, "a")):
        lab.reserve()


def test_a_secret_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDCHAR_TEST_SECRET", "a-123456")
    file = tmp_path / "station.toml"
    station(tmp_path, "a")
    file.write_text(file.read_text().replace('name = "a"', 'name = "env:QDCHAR_TEST_SECRET"'))
    axis: Any = load_station(file).look("a", VoltageAxis)
    assert axis.name == "a-123456"


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    """As under nohup: the calibration goes on when the terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_unwind():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGHUP, before)
