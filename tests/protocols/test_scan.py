"""The shared scan loop: order of the points, files, progress, and sweeps that cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdchar.errors import UsageError
from qdchar.protocols._scan import ScanLoop, scan_about, sweep_limits, sweep_voltages
from qdchar.protocols.purcell import PurcellSettings
from qdchar.raw_data import About, Settings, read_scan
from qdchar.roles import Counts, Identity


class Tagger:
    """A tagger that answers who it is."""

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)


def test_points_are_measured_in_order_and_kept_although_the_scan_breaks(tmp_path: Path) -> None:
    asked: list[float] = []
    reported: list[tuple[float, float, str]] = []

    def measure_point(attenuation_dB: float) -> tuple[float, Counts]:
        if len(asked) == 3:
            raise RuntimeError("cable pulled")
        asked.append(attenuation_dB)
        return 2e-9 / 2 ** len(asked), Counts((300, 500), 4e-4)

    def progress(done: float, total: float, text: str) -> None:
        reported.append((done, total, text))

    file = tmp_path / "x.csv"

    def break_off() -> None:
        with ScanLoop(file, "power_W", About("rabi", path="before"), 5, progress) as loop:
            loop.measure([7.0, 3.0], measure_point)
            loop.measure([5.0, 4.0, 2.0], measure_point)

    with pytest.raises(RuntimeError, match="cable"):
        break_off()
    assert asked == [7.0, 3.0, 5.0]
    assert [r[:2] for r in reported] == [(1, 5), (2, 5), (3, 5)]
    assert reported[0][2] == "before: 1 nW, 2 Mcps"  # 800 clicks in 0.4 ms
    scan = read_scan(file)
    assert scan.x.tolist() == [1e-9, 0.5e-9, 0.25e-9]
    assert scan.clicks.tolist() == [[300, 500]] * 3


def test_every_setting_is_written_beside_the_points() -> None:
    settings = PurcellSettings(detunings=(0.0, 1.5, -1.0, 2.0), clicks=5e5)
    about = scan_about("purcell", "before", Tagger(), settings, count_fwhm_V=0.07)  # type: ignore[arg-type]
    assert about.simulated
    assert about.settings["detunings"] == "0.0 1.5 -1.0 2.0"
    assert about.settings["clicks"] == 5e5
    assert about.settings["count_fwhm_V"] == 0.07


def test_a_setting_that_was_not_given_is_not_written() -> None:
    class Optional(Settings):
        start_V: float | None = None
        step_V: float = 0.3

    about = scan_about("cavity", "before", Tagger(), Optional())  # type: ignore[arg-type]
    assert about.settings == {"step_V": 0.3}


def test_a_sweep_ends_at_the_limits_where_the_settings_give_no_end() -> None:
    assert sweep_limits("cavity", None, 42.0, (3.0, 60.0)) == (3.0, 42.0)
    assert sweep_limits("cavity", 5.0, None, (3.0, 60.0)) == (5.0, 60.0)
    assert sweep_voltages(3.0, 3.9, 0.3).tolist() == pytest.approx([3.0, 3.3, 3.6, 3.9])


def test_a_downward_sweep_is_refused_with_both_ends() -> None:
    with pytest.raises(UsageError, match=r"start at 30 V and to stop at 20 V.*cavity\.start_V"):
        sweep_limits("cavity", 30.0, 20.0, (0.0, 60.0))
