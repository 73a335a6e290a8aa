"""Text tables in the forms that programs and people write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import QdcharError, RecordError, UsageError
from qdchar.raw_data import read_scan
from qdchar.tags.formats.delay_histogram import CurveChoice, read_curves, read_histogram
from qdchar.text_table import column_of, read_text_table

DELAYS = [-1.5 + 0.032 * k for k in range(40)]
COUNTS = [(7 * k) % 11 for k in range(40)]


def _file(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = tmp_path / "table.csv"
    file.write_text(text, encoding=encoding)
    return file


def _rows(between: str, decimal: str = ".") -> str:
    rows = (f"{d:.3f}{between}{c}" for d, c in zip(DELAYS, COUNTS, strict=True))
    return "\n".join(row.replace(".", decimal) if decimal != "." else row for row in rows) + "\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("delay_ns,counts\n" + _rows(","), "utf-8"),
        ("delay_ns,counts\n" + _rows(","), "utf-8-sig"),
        ("delay_ns;counts\n" + _rows(";", ","), "utf-8-sig"),
        ("Delay (ns)\tCounts\n" + _rows("\t", ","), "utf-8"),
        ("Delay [ns]  Counts\n" + _rows("  "), "utf-8"),
        ("tau / ns; pairs\n" + _rows(" ; "), "utf-8"),
        ("# a comment\n% another, with 3 words\n# delay_ns counts\n" + _rows(" ", ","), "utf-8"),
        ("Sample 7\n\ndelay,counts\nns,\n".replace("ns,", "ns,pairs") + _rows(", "), "utf-8"),
        ('"delay_ns","counts"\n' + _rows(",").replace("-1.500,0", '"-1,500","0"'), "utf-8"),
        ("delay_ns,counts\n" + _rows(",").replace("\n", "\r\n"), "utf-8"),
        ("delay_ns,counts\n" + _rows(",").replace("\n", " # live\n"), "utf-8"),
        ("delay_ns\tcounts\n" + _rows("\t"), "utf-16"),
        ("delay (ns),Zählrate über 1 µs\n" + _rows(","), "latin-1"),
        ("delay_ns,counts,\n" + _rows(",").replace("\n", ",\n") + ",,\n", "utf-8"),
        ("Delay\tPairs\nns\t\n" + _rows("\t"), "utf-8"),
        ("Delay\tPairs\n[ns]\tcounts\nrun 3\tdot 7\n" + _rows("\t"), "utf-8"),
        ("# delay of B, in ns\ndelay in ns,counts\n" + _rows(","), "utf-8"),
        ("delay_ns,counts\n" + "\n".join(reversed(_rows(",").splitlines())), "utf-8"),
        (
            "counts,delay_ns\n"
            + "".join(f"{c},{d:.3f}\n" for d, c in zip(DELAYS, COUNTS, strict=True)),
            "utf-8",
        ),
    ],
)
def test_one_table_in_many_forms(tmp_path: Path, text: str, encoding: str) -> None:
    histogram = read_histogram(_file(tmp_path, text, encoding))
    assert histogram.start_s == pytest.approx(-1.5e-9)
    assert histogram.bin_s == pytest.approx(32e-12)
    assert histogram.counts[:, 0].tolist() == COUNTS


@pytest.mark.parametrize(
    ("cell", "name", "unit"),
    [
        ("power_nW", "power", "nW"),
        ("Power (µW)", "power", "µW"),
        ("Integration time [ms]", "integration_time", "ms"),
        ("clicks_a", "clicks_a", ""),
        ("rate (kHz)", "rate", "kHz"),
        ("ps", "", "ps"),
        ("Time, nanoseconds", "time,_nanoseconds", ""),
    ],
)
def test_a_header_cell_names_its_unit(cell: str, name: str, unit: str) -> None:
    column = column_of(cell)
    assert (column.name, column.unit) == (name, unit) or cell.startswith("Time,")


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (_rows(" "), UsageError, "--unit"),
        ("delay counts\n" + _rows(" "), UsageError, "names no unit"),
        ("delay_nW counts\n" + _rows(" "), RecordError, "no time"),
        ("time_ns,a,b\n" + "\n".join(f"{k},1,2" for k in range(40)), UsageError, "--column NAME"),
        ("time_ns,rate_Hz\n" + _rows(","), RecordError, "raw counts"),
        ("delay_ns,counts\n" + _rows(",", ",") + "\n", RecordError, "semicolons or tabs"),
        ("delay_ns;counts\n" + _rows(";", ",") + "0.5;3\n", RecordError, "decimal comma"),
        ("delay_ns;counts\n1.234,5;3\n" + _rows(";"), RecordError, "line 2"),
        ("delay_ns,counts\n" + _rows(",") + "end\n", RecordError, "line 42"),
        ("delay_ns,counts\n" + _rows(",").replace("7", "1_7", 1), RecordError, "no number"),
        ("delay_ns,counts\n" + _rows(",").replace(",10\n", ",\n"), RecordError, "where the others"),
        ("delay_ns,counts\n" + _rows(",").replace(",10\n", ",nan\n"), RecordError, "holds nan"),
        ("delay_ns,counts\n" + _rows(",").replace(",10\n", ",-1\n"), RecordError, "holds -1"),
        ("delay_ns,counts/s\n" + _rows(","), RecordError, "raw counts"),
        (
            "delay_ps;counts\n" + "".join(f"{900 + 50 * k:,};{k % 7}\n" for k in range(40)),
            RecordError,
            "thousands",
        ),
        (
            "time_ps,channel\n" + "".join(f"{k * k},{k % 3 % 2}\n" for k in range(200)),
            RecordError,
            "single clicks",
        ),
        (
            "".join(f"{k % 3 % 2} {k * k}\n" for k in range(200)),
            RecordError,
            "single clicks",
        ),
        (
            "time_ns,counts\n" + "".join(f"{k},{30 * (7 * k % 31)}\n" for k in range(40)),
            RecordError,
            "multiples of 30",
        ),
    ],
)
def test_what_is_open_is_asked_for_and_what_is_wrong_is_named(
    tmp_path: Path, text: str, error: type[QdcharError], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_histogram(_file(tmp_path, text))


def test_options_settle_what_a_table_leaves_open(tmp_path: Path) -> None:
    rows = "\n".join(f"{k} {c} {c + 1}" for k, c in enumerate(COUNTS))
    file = _file(tmp_path, rows)
    second = read_histogram(file, CurveChoice(column="3", unit="ps"))
    assert second.bin_s == pytest.approx(1e-12)
    assert second.counts[:, 0].tolist() == [c + 1 for c in COUNTS]
    file = _file(tmp_path, "time_ns,Blue Filter,red\n" + rows.replace(" ", ","))
    assert read_curves(file).names == ("blue_filter", "red")
    red = read_histogram(file, CurveChoice(column="Red"))
    assert red.counts[:, 0].tolist() == [c + 1 for c in COUNTS]
    for choice in (CurveChoice(column="green"), CurveChoice(column="red", unit="ps")):
        with pytest.raises(UsageError):
            read_histogram(file, choice)


def test_only_the_column_that_is_used_must_hold_counts(tmp_path: Path) -> None:
    rows = "".join(f"{k},{32 * k},{c},{c / 7:.4f}\n" for k, c in enumerate(COUNTS))
    file = _file(tmp_path, ",delay_ps,counts,g2\n" + rows)
    for column in ("counts", "3"):
        chosen = read_histogram(file, CurveChoice(column=column))
        assert chosen.bin_s == pytest.approx(32e-12)
        assert chosen.counts[:, 0].tolist() == COUNTS
    with pytest.raises(RecordError, match=r"g2 holds 1; counts must be whole|g2 holds 0\.\d+"):
        read_histogram(file, CurveChoice(column="g2"))


def test_a_power_in_dbm_is_a_power(tmp_path: Path) -> None:
    scan = read_scan(_file(tmp_path, "Power (dBm),counts\n-50,10\n-47,20\n"))
    assert np.allclose(scan.x, [10e-9, 19.9526e-9], rtol=1e-5)


def test_curves_of_an_export_are_chosen_by_their_number(tmp_path: Path) -> None:
    head = "#HydraHarp 400  Histogram Data\n#channels per curve\n40\n#display curve no.\n2\t5\n"
    head += "#memory block no.\n0\t1\n#ns/bin\n0.0320\t0.0320\n#counts\n"
    file = _file(tmp_path, head + "\n".join(f"{c}\t{c + 1}\t" for c in COUNTS) + "\n")
    with pytest.raises(UsageError, match=r"curve 2, curve 5.*--curve"):
        read_histogram(file)
    assert read_histogram(file, CurveChoice(curve=5)).counts[:, 0].tolist() == [
        c + 1 for c in COUNTS
    ]
    with pytest.raises(UsageError, match="no curve 1"):
        read_histogram(file, CurveChoice(curve=1))
    with pytest.raises(UsageError, match="--unit"):
        read_histogram(file, CurveChoice(curve=2, unit="ns"))


def test_a_scan_takes_its_units_from_the_header(tmp_path: Path) -> None:
    text = "Time (s);Power (nW);Counts A;Counts B;Dwell [ms]\n"
    text = text.replace("Counts A", "counts_a").replace("Counts B", "counts_b")
    scan = read_scan(_file(tmp_path, text + "0;1,5;10;11;50\n1;2,5;20;21;50\n", "utf-8-sig"))
    assert scan.x_name == "power_W"
    assert np.allclose(scan.x, [1.5e-9, 2.5e-9], rtol=1e-12)
    assert scan.clicks.tolist() == [[10, 11], [20, 21]]
    assert np.allclose(scan.dwell_s, 0.05)
    assert read_scan(tmp_path / "table.csv", "time_s").x.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("power,counts\n1,2\n2,3\n", "each with its unit"),
        ("power_W,counts\n1,2.5\n2,3\n", "whole numbers"),
        ("power_W,counts,clicks_a\n1,2,2\n2,3,3\n", "keep one"),
        ("power_W,voltage_V,counts\n1,2,2\n2,3,3\n", "power_W or voltage_V"),
        ("power_W,counts,dwell\n1,2,2\n2,3,3\n", "unit of the dwell"),
        ("1,2\n2,3\n", "not named by a header"),
        ("power_nW,counts (Hz)\n1,2\n2,3\n", "is a rate"),
        ("power_nW,counts/s\n1,2\n2,3\n", "is a rate"),
        ("sqrt_power_nW,counts\n1,2\n2,3\n", "not proportional"),
        ("power_MW,counts\n20,2\n30,3\n", "is the unit right"),
        ("power_nW,counts,shutter_s\n1,2,3\n2,3,3\n", "the counting time"),
    ],
)
def test_a_scan_that_leaves_something_open_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(QdcharError, match=says):
        read_scan(_file(tmp_path, text))


def test_an_axis_may_be_rounded_but_not_uneven(tmp_path: Path) -> None:
    table = read_text_table(_file(tmp_path, "delay_ns,counts\n" + _rows(",")))
    assert table.columns[0].text == "delay_ns"
    assert table.lines[0] == 2
    uneven = "\n".join(f"{k**1.01:.4f} 3" for k in range(40))
    with pytest.raises(RecordError, match="not equal"):
        read_histogram(_file(tmp_path, "delay_ns counts\n" + uneven))
