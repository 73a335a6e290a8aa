"""Faults of the simulated lab: each breaks what it says, when it says, and nothing before."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qdchar import roles
from qdchar.cli import run
from qdchar.drivers.twin.broken_lab import BrokenLab
from qdchar.drivers.twin.faults import FAULTS, planned_fault
from qdchar.drivers.twin.lab import Lab
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import CavityPiezo, Truth
from qdchar.errors import InstrumentError, UsageError
from qdchar.lab.display import Display
from qdchar.lab.simulated import simulated_lab
from qdchar.lab.station import load_station

DWELL_S = 0.05
STILL = Truth(piezo=CavityPiezo(creep=0.0, drift_m_per_s=0.0))
"""A lab whose cavity stays on its resonance."""


def tuned(lab: Lab, path: str = "before") -> Lab:
    """The lab at the pi pulse, near the cavity's resonance and at the etalon's peak."""
    truth = lab.truth
    lab.set_shutter(True)
    lab.set_attenuation(10.0 * np.log10(truth.laser.power_W / truth.source.pi_power_W))
    lab.set_piezo(3, truth.cavity.resonance_V)
    lab.set_etalon_voltage(lab.errors.etalon_peak_V)
    lab.select_path(path)
    return lab


def broken(*faults: str, path: str = "before") -> BrokenLab:
    """A tuned lab in which faults begin with the measurement ``hbt_after``."""
    lab = BrokenLab(STILL, 3, [planned_fault(f"{name}@hbt_after") for name in faults])
    tuned(lab, path)
    assert sorted(lab.begin_measurement("hbt_after")) == sorted(faults)
    return lab


def rates(lab: Lab, dwell_s: float = DWELL_S) -> np.ndarray:
    return np.array(lab.count(dwell_s)) / dwell_s


def recorded(lab: Lab, duration_s: float = DWELL_S) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(lab.stream(duration_s))
    times = np.concatenate([b.times_ps for b in blocks])
    assert np.all(np.diff(times) >= 0)
    assert blocks[0].start_ps == 0
    assert blocks[-1].stop_ps == round(duration_s * 1e12)
    return times, np.concatenate([b.channels for b in blocks])


def recorded_rates(lab: Lab, duration_s: float = DWELL_S) -> np.ndarray:
    return np.bincount(recorded(lab, duration_s)[1], minlength=3)[1:] / duration_s


def test_at_least_fifty_faults_in_every_part_of_the_lab() -> None:
    assert len(FAULTS) >= 50
    assert all(name == fault.name for name, fault in FAULTS.items())
    assert len({fault.description + fault.size for fault in FAULTS.values()}) == len(FAULTS)
    by_group = Counter(fault.group for fault in FAULTS.values())
    assert len(by_group) == 13
    assert all(f.description.endswith(".") and f.size for f in FAULTS.values())


def behaviour(lab: Lab) -> list[float]:
    """What its instruments show and its detectors see while everything is moved a little."""
    lab.select_path("before")
    lab.advance(20.0)
    seen: list[float] = [lab.power_reading_W()]
    for path in ("before", "after", "laser", "receiver", "interferometer", "blocked"):
        lab.select_path(path)
        lab.set_attenuation(lab.attenuation() - 0.25)
        lab.set_shutter(path != "interferometer")
        lab.set_etalon_voltage(lab.etalon_voltage() + 2.5)
        lab.set_piezo(3, lab.piezo_voltage(3) - 0.01)
        lab.turn_plate("half", 20.0)
        lab.set_modulator(1, 1.0)
        lab.set_modulator(2, 1.0)
        seen += [*lab.count(0.002), lab.power_reading_W()]
        for block in lab.stream(0.002):
            seen += [
                *np.bincount(block.channels, minlength=3),
                block.times_ps.sum(),
                block.overflow,
            ]
    return [float(x) for x in seen]


@pytest.fixture(scope="module")
def healthy_behaviour() -> list[float]:
    return behaviour(broken())


@pytest.mark.parametrize("name", FAULTS)
def test_any_fault_changes_what_is_seen_and_the_lab_still_answers(
    name: str, healthy_behaviour: list[float]
) -> None:
    """The healthy lab has the same random numbers: what differs is the fault's doing."""
    lab = broken(name)
    seen = behaviour(lab)
    assert np.all(np.isfinite(seen))
    if FAULTS[name].group == "wires":
        assert lab.defects.wires
    else:
        assert seen != healthy_behaviour
    assert all(np.isfinite(value) for _, value, _ in lab.quantities())


def test_before_a_fault_begins_all_is_as_in_a_healthy_lab() -> None:
    """Bit for bit: clicks, tags and readings."""
    names = [f"{name}@hbt_after" for name in FAULTS]
    healthy, waiting = Lab(Truth(), 5), BrokenLab(Truth(), 5, list(map(planned_fault, names)))
    for path in ("before", "after", "interferometer"):
        for lab in (healthy, waiting):
            tuned(lab, path)
        assert healthy.count(0.01) == waiting.count(0.01)
        for mine, theirs in zip(healthy.stream(0.01), waiting.stream(0.01), strict=True):
            assert np.array_equal(mine.times_ps, theirs.times_ps)
            assert np.array_equal(mine.channels, theirs.channels)
        assert healthy.power_reading_W() == waiting.power_reading_W()


def test_a_fault_within_a_recording_begins_at_its_share() -> None:
    lab = BrokenLab(STILL, 3, [planned_fault("detector_a_dead@hbt_after+50%")])
    tuned(lab)
    assert lab.begin_measurement("brightness") == []
    recorded_rates(lab)
    assert lab.begin_measurement("hbt_after") == []
    assert rates(lab)[0] > 1e6  # counts do not start it
    times, channels = recorded(lab, 0.4)
    in_a = times[channels == 1]
    assert in_a.max() == pytest.approx(0.2e12, abs=0.03e12)  # at the next block of tags
    assert rates(lab)[0] == 0


def test_a_fault_within_a_recording_begins_at_the_latest_with_the_next_measurement() -> None:
    lab = BrokenLab(STILL, 3, [planned_fault("dark_counts@cavity+50%")])
    assert lab.begin_measurement("cavity") == []
    assert lab.begin_measurement("rabi") == ["dark_counts"]


# What theory expects of each; the healthy lab is the reference.


def test_light_that_is_lost() -> None:
    healthy = rates(tuned(Lab(STILL, 3), "after"), 1.0)
    # with dead time, 20 % less light is less than 20 % fewer clicks; A and B have 12 % fewer
    # clicks than without dead time at most behind the transmitter
    for name, low, high in (
        ("source_fainter", 0.80, 0.84),
        ("transmitter_loss", 0.80, 0.84),
        ("switch_lossy_after", 0.90, 0.92),
        ("switch_lossy_before", 0.99, 1.01),
        ("detectors_weaker", 0.90, 0.92),
    ):
        ratio = rates(broken(name, path="after"), 1.0) / healthy
        assert np.all((low < ratio) & (ratio < high)), name
    a, b = rates(broken("detector_a_half", path="after"), 1.0) / healthy
    assert 0.5 < a < 0.56
    assert b == pytest.approx(1.0, abs=0.01)


def test_a_cavity_half_way_between_its_orders_is_dark() -> None:
    """An Airy function of finesse F, broadened by 1 + F_P where the Purcell factor is high."""
    lab = broken("cavity_half_order")
    dot = 1.0 / (1.0 + (2.0 * 580.0 / np.pi) ** 2 / 15.0)  # of the dot's light
    leak = Truth().source.leak_ratio
    bright = rates(tuned(Lab(STILL, 3))).sum()
    assert rates(lab).sum() / bright == pytest.approx((dot + leak) * 1.6, rel=0.4)
    half = rates(broken("cavity_one_width"), 1.0).sum() / bright
    assert 0.2 < half < 0.45  # 1/5 of the dot's light, with less dead time


def test_more_dark_counts_and_room_light() -> None:
    lab = broken("room_light", path="blocked")
    assert rates(lab, 100.0).sum() == pytest.approx(4343.0, rel=0.01)
    assert dict((n, v) for n, v, _ in lab.quantities())["dark_count_rate"] == 4343.0
    lab = broken("dark_counts", path="blocked")
    assert rates(lab, 100.0).sum() == pytest.approx(4300.0, rel=0.01)
    assert recorded_rates(lab, 10.0).sum() == pytest.approx(4300.0, rel=0.03)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_lost_tags_are_counted(share: float) -> None:
    lab = broken(f"tags_lost_{100 * share:.0f}")
    ratio = recorded_rates(lab) / rates(lab)
    assert ratio == pytest.approx(1.0 - share, abs=0.005)


def test_cross_talk_and_afterpulses_in_counts_and_tags() -> None:
    """At a low rate both are their probabilities, in counts as in tags."""

    def faint(*names: str) -> BrokenLab:
        lab = broken(*names, path="after")
        lab.set_attenuation(lab.attenuation() + 13.0)
        return lab

    reference = rates(faint(), 4.0)
    lab = faint("afterpulsing")
    assert rates(lab, 4.0) / reference == pytest.approx(1.01, abs=0.003)
    times, channels = recorded(lab, 1.0)

    def share_early(times: np.ndarray) -> float:
        gaps_ns = 1e-3 * np.diff(times)
        assert gaps_ns.min() > 29.7  # the dead time, less jitter
        return float(np.mean(gaps_ns < 180.0))

    healthy_times, healthy_channels = recorded(faint(), 1.0)
    for d in (1, 2):
        healthy = share_early(healthy_times[healthy_channels == d])
        more = share_early(times[channels == d]) - healthy
        # within three decay times of the trap, where no other click is as early
        assert more == pytest.approx(0.01 * (1.0 - np.exp(-3.0)) * (1.0 - healthy), abs=0.001)
    times, channels = recorded(faint("cross_talk"), 1.0)
    times, channels = times[channels > 0], channels[channels > 0]
    delay_A = np.diff(times)[np.diff(channels.astype(int)) != 0]
    near = np.count_nonzero(np.abs(delay_A - 500) < 1)  # tags are in steps of 42 ps
    assert near / len(times) == pytest.approx(1e-3, rel=0.15)


def test_dead_time_acts_on_extra_clicks_at_high_rates() -> None:
    lab = broken("afterpulsing", "cross_talk")
    times, channels = recorded(lab)
    for detector in (1, 2):
        assert np.diff(times[channels == detector]).min() > 29_700
    assert recorded_rates(lab, 0.2) == pytest.approx(rates(lab, 1.0), rel=0.005)


def test_swapped_stale_latched_and_saturated() -> None:
    healthy = rates(tuned(Lab(STILL, 3)), 1.0)
    assert rates(broken("channels_swapped"), 1.0) == pytest.approx(healthy[::-1], rel=0.003)
    assert recorded_rates(broken("channels_swapped")) == pytest.approx(healthy[::-1], rel=0.01)
    lab = broken("count_stale")
    first = lab.count(0.1)
    lab.select_path("blocked")
    assert lab.count(0.1) == first
    assert sum(lab.count(0.1)) < 50
    lab = broken("detector_latches")
    rates(lab)
    assert rates(lab)[0] == 0
    lab.select_path("after")
    assert rates(lab)[0] == 0
    lab.select_path("blocked")
    lab.select_path("after")
    assert rates(lab)[0] > 1e6
    ratio = rates(broken("detector_saturates"), 1.0) / healthy
    assert ratio == pytest.approx(1.0 / (1.0 + 1e-8 * healthy), rel=0.003)


def test_stuck_instruments_report_what_they_were_asked_for() -> None:
    lab = broken("shutter_stuck_closed", "attenuator_stuck", "etalon_stuck", "cavity_stuck",
                 "plate_stuck", "switch_stuck")  # fmt: skip
    before = (lab.settings.attenuation_dB, lab.settings.etalon.voltage_V)
    lab.set_shutter(True)
    lab.set_attenuation(3.25)
    lab.set_etalon_voltage(17.5)
    lab.set_piezo(3, 8.5)
    lab.turn_plate("half", 33.0)
    lab.turn_plate("quarter", 12.0)
    lab.select_path("laser")
    assert lab.shutter()
    assert (lab.attenuation(), lab.etalon_voltage(), lab.piezo_voltage(3)) == (3.25, 17.5, 8.5)
    assert (lab.plate_deg("half"), lab.plate_deg("quarter")) == (33.0, 12.0)
    assert lab.selected_path() == "laser"
    assert not lab.settings.shutter_open
    assert (lab.settings.attenuation_dB, lab.settings.etalon.voltage_V) == before
    assert lab.settings.fine.voltage_V == lab.truth.cavity.resonance_V
    assert lab.settings.plates_deg == {"half": 0.0, "quarter": 12.0}
    assert lab.settings.path == "before"


def test_the_switch_goes_to_the_wrong_port_from_its_next_move_on() -> None:
    lab = broken("switch_wrong_port", path="after")
    assert lab.settings.path == "after"
    lab.select_path("after")
    assert (lab.selected_path(), lab.settings.path) == ("after", "before")


def test_the_clock_changes_within_a_recording() -> None:
    lab = BrokenLab(STILL, 3, [planned_fault("clock_changes@hbt_after+50%")])
    tuned(lab)
    lab.begin_measurement("hbt_after")
    times, channels = recorded(lab, 0.2)
    clock = times[channels == 0]
    periods = [np.polyfit(np.arange(len(t)), t, 1)[0] for t in (clock[:5000], clock[-5000:])]
    assert periods[1] / periods[0] - 1.0 == pytest.approx(1e-5, rel=1e-3)
    assert dict((n, v) for n, v, _ in lab.quantities())["clock_rate"] == pytest.approx(
        76.13e6 * (1.0 - 1e-5), rel=1e-12
    )


def test_clock_tags_that_are_lost_or_divided() -> None:
    def clock_tags(name: str) -> int:
        return int(np.count_nonzero(recorded(broken(name, path="blocked"), 1.0)[1] == 0))

    healthy = 76.13e6 / 1024
    assert clock_tags("clock_tags_lost") == pytest.approx(0.99 * healthy, rel=1e-3)
    assert clock_tags("sync_divider") == pytest.approx(0.5 * healthy, abs=1.0)
    assert broken("sync_divider").sync_divider == 1024  # what the tagger says


def test_blinking_begins_within_a_recording() -> None:
    lab = BrokenLab(STILL, 3, [planned_fault("blinking@hbt_after+50%")])
    tuned(lab, "after")
    lab.begin_measurement("hbt_after")
    times, channels = recorded(lab, 2.0)
    per_ms = np.bincount(times[channels > 0] // 10**9, minlength=2000)
    # the share of time on has a standard deviation of sqrt(2 q (1 - q) t/T) = 0.023
    assert per_ms[1100:].mean() / per_ms[:1000].mean() == pytest.approx(0.5, abs=0.07)
    assert per_ms[1100:].std() > 10.0 * per_ms[:1000].std()


def test_the_truth_follows() -> None:
    true = {n: v for n, v, _ in STILL.quantities()}

    def after(name: str) -> dict[str, float]:
        return {n: v for n, v, _ in broken(name).quantities()}

    fainter = after("source_fainter")
    assert fainter["collection_efficiency"] == pytest.approx(0.8 * true["collection_efficiency"])
    assert fainter["g2_zero"] == pytest.approx(true["g2_zero"])
    assert fainter["transmitter_efficiency"] == pytest.approx(0.41)
    wider = after("linewidth")
    assert wider["linewidth"] > 4e9
    assert wider["transmitter_efficiency"] < 0.35  # the etalon passes less of it
    assert after("misalignment")["misalignment"] == pytest.approx(0.08)
    missing = after("laser_loses_pulses")
    n = missing["mean_photon_number"] / true["mean_photon_number"]
    assert n == pytest.approx(0.9, rel=0.01)
    p2 = missing["p2"] / true["p2"]  # pairs are missing like single photons
    assert p2 == pytest.approx(0.9, rel=0.02)
    assert after("cavity_half_order") == true
    assert after("detector_a_half")["detector_efficiency"] == pytest.approx(
        0.712 * (0.5 * 0.49 + 0.51)
    )


def test_wires(tmp_path: Path) -> None:
    names = ("meter_comma", "attenuator_garbled", "cavity_dropped", "tagger_dropped")
    plans = [planned_fault(f"{name}@hbt_after") for name in names]
    with serve(Truth(), 3, faults=plans) as served:
        file = tmp_path / "station.toml"
        file.write_text(station_toml(served), encoding="utf-8")
        with load_station(file, lambda _: None) as station:
            meter = station.role("pump_power", roles.PowerMeter)
            attenuator = station.role("pump_attenuator", roles.Attenuator)
            axis = station.role("cavity_fine", roles.VoltageAxis)
            tagger = station.role("tagger", roles.TimeTagger)
            meter.power_W()
            assert isinstance(served.lab, BrokenLab)
            served.lab.begin_measurement("hbt_after")
            with pytest.raises(InstrumentError):
                meter.power_W()
            with pytest.raises(InstrumentError):
                attenuator.attenuation()
            assert attenuator.attenuation() == 60.0  # one reply only
            assert axis.voltage() == 0.0  # asked again on a new connection
            assert tagger.count(0.01).dwell_s == 0.01
            with pytest.raises(InstrumentError):
                list(tagger.stream(0.01))
            assert len(list(tagger.stream(0.01))) > 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no_such_fault", "unknown"),
        ("blinking@", "NAME@MEASUREMENT"),
        ("blinking+50%", "NAME@MEASUREMENT"),
        ("blinking@hbt_after+100%", "below 100 %"),
        ("blinking@no_such", "no such measurement"),
    ],
)
def test_faults_that_cannot_be_read(
    text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["twin", "--truth", "--fault", text]) == 2
    assert says in capsys.readouterr().err
    if "no such" not in says:
        with pytest.raises(UsageError, match=says):
            planned_fault(text)


def test_the_command_line_lists_faults_and_tells_the_truth_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["twin", "--fault", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in FAULTS)
    assert run(["calibrate", "--fault", "list", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["faults"]
    assert {row["name"] for row in table} == set(FAULTS)
    assert run(["twin", "--truth", "--json", "--fault", "dead_time@transmitter"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["quantities"]["dead_time"]["value"] == pytest.approx(45e-9)


def test_faults_do_not_go_with_a_station(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "station.toml"
    assert run(["calibrate", "--station", str(file), "--fault", "blinking"]) == 2
    assert "--fault" in capsys.readouterr().err


def test_the_simulated_lab_is_told_what_begins(tmp_path: Path) -> None:
    faults = ["dark_counts@hbt_after", "room_light@hbt_after", "jitter"]
    with simulated_lab(tmp_path, 1, faults=faults) as lab:
        assert lab.begin_measurement("dark") == []
        assert lab.begin_measurement("hbt_after") == ["dark_counts", "room_light"]
        assert "nominal_clock_Hz = 76130000.0" in lab.station_text
        assert lab.begin_measurement("hbt_after") == []


def test_the_display_tells_which_measurement_begins() -> None:
    display, told = Display(), list[str]()
    with display.step("time gate", "gate"):
        pass
    display.on_measurement = told.append
    with display.step("dark counts", "dark"):
        assert told == ["dark"]


def test_a_modulator_that_loses_gain_sends_states_that_are_off() -> None:
    """Half a turn becomes 0.85 of it: off by 0.15 pi for V, by half of that for D, A, R and L."""
    lab = BrokenLab(Truth(), 3, [planned_fault("modulator_gain")])
    wrong = {name: value for name, value, _ in lab.quantities()}["misalignment"]
    cosines = np.cos(np.pi * np.array([0.0, 0.15, 0.075, 0.075, 0.075, 0.075]))
    assert wrong == pytest.approx(0.5 * (1.0 - (1.0 - 2.0 * 0.0254) * cosines.mean()), rel=0.01)
