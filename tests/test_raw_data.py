from __future__ import annotations

from pathlib import Path

import pytest

from qdchar.errors import RecordError
from qdchar.raw_data import About, ScanWriter, read_scan
from qdchar.roles import Counts


def test_a_scan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "raw" / "rabi.csv"
    about = About("rabi", path="before", simulated=True, settings={"dwell_s": 0.01})
    with ScanWriter(file, "power_W", about) as writer:
        writer.add(1.25e-9, Counts((10, 12), 0.01))
        writer.add(2.5e-9, Counts((31, 29), 0.01))
    written, read = writer.scan(), read_scan(file)
    assert read.about == about
    assert read.x_name == "power_W"
    for name in ("x", "clicks", "dwell_s"):
        assert (getattr(read, name) == getattr(written, name)).all()


def test_every_point_is_on_disk_before_the_next(tmp_path: Path) -> None:
    file = tmp_path / "scan.csv"
    with ScanWriter(file, "voltage_V", About("cavity")) as writer:
        for k in range(3):
            writer.add(float(k), Counts((k, k), 0.1))
            assert len(read_scan(file)) == k + 1


def test_raw_data_are_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "scan.csv"
    with ScanWriter(file, "voltage_V", About("cavity")) as writer:
        writer.add(1.0, Counts((1, 2), 0.1))
    with pytest.raises(FileExistsError), ScanWriter(file, "voltage_V", About("cavity")):
        pass


def test_a_lab_s_own_table(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("power_W, counts\n1e-9, 100\n2e-9, 180\n")
    scan = read_scan(file)
    assert scan.clicks.tolist() == [[100, 0], [180, 0]]
    assert scan.dwell_s.tolist() == [1.0, 1.0]


def test_a_file_that_is_no_scan_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.csv", tmp_path / "binary.csv"
    binary.write_bytes(b"\xaf\x00")
    with pytest.raises(RecordError, match=r"missing\.csv: cannot be read"):
        read_scan(missing)
    with pytest.raises(RecordError, match=r"binary\.csv.*is not UTF-8"):
        read_scan(binary)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no data"),
        ("# qdchar scan 1\n", "line 2: not the description"),
        ("# qdchar scan 1\n# {x\npower_W,counts\n1e-9,3\n", "line 2: not the description"),
        ("x,y\n1,2\n", "needed are power_W"),
        ("power_W,counts\n1e-9,many\n", "line 2"),
        ("power_W,counts\n1e-9\n", "line 2"),
        ("power_W,counts,dwell_s\n1e-9,3,0.5\n1e-9,3,0\n", "line 3: dwell_s is 0, must be 1e-12"),
        ("power_W,counts,dwell_s\n1e-9,3,inf\n", "line 2: dwell_s is inf"),
        ("power_W,counts,dwell_s\n1e-9,3,1e308\n", "line 2: dwell_s is 1e\\+308, .* to 1e\\+09 s"),
        ("power_W,counts\n1e300,3\n", "line 2: power_W is 1e\\+300"),
        ("voltage_V,counts\n-1e-320,3\n", "line 2: voltage_V is -9.99989e-321"),
        ("power_W,counts\n1e-9,-1\n", "line 2: -1 and 0 clicks"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(RecordError, match=says):
        read_scan(file)


@pytest.mark.parametrize(
    ("header", "factor"), [("power_nW", 1e-9), ("Power (µW)", 1e-6), ("power_W", 1.0)]
)
def test_a_prefix_in_the_header_is_part_of_the_unit(
    tmp_path: Path, header: str, factor: float
) -> None:
    file = tmp_path / "rabi.csv"
    file.write_text(f"{header},counts,dwell_ms\n2.5,30,20\n4.0,50,25\n", encoding="utf-8")
    scan = read_scan(file)
    assert scan.x_name == "power_W"
    assert scan.x == pytest.approx([2.5 * factor, 4.0 * factor], rel=1e-12, abs=0.0)
    assert scan.dwell_s == pytest.approx([0.02, 0.025])
