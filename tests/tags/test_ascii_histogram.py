from __future__ import annotations

from pathlib import Path

import pytest

from qdchar.errors import RecordError
from qdchar.tags.formats.ascii_histogram import read_ascii_histogram

PICOHARP = """#PicoHarp 300  Histogram Data\t\t\t2021-03-22 04:00:21 PM
#channels per curve
4
#display curve no.
0\t1\t
#memory block no.
0\t1\t
#ns/channel
0.0040\t0.0040\t
#counts
0\t5\t
1\t6\t
2\t7\t
3\t8\t
"""


def test_picoquant_export(tmp_path: Path) -> None:
    path = tmp_path / "h.dat"
    for heading in ("#ns/channel", "#ns/bin"):
        path.write_text(PICOHARP.replace("#ns/channel", heading))
        h = read_ascii_histogram(path)
        assert (h.bin_ps, h.curves) == (4.0, (0, 1))
        assert h.counts.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
        assert h.program.startswith("PicoHarp 300")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line '#counts'"),
        (PICOHARP.replace("3\t8", "3"), "line 14: 1 numbers where"),
        (PICOHARP.replace("3\t8", "3\t0.5"), "line 14: .*whole numbers"),
        (PICOHARP.replace("3\t8", "3\t-8"), "line 14: .*not negative"),
        (PICOHARP.replace("3\t8", f"3\t{'9' * 20}"), "line 14: .*at most 9007199254740992"),
        (PICOHARP.replace("#ns/channel", "#nothing"), "gives the bin width"),
        (PICOHARP.replace("0.0040\t0.0040", "0.0040\t0.0080"), "different bin widths"),
        (PICOHARP.replace("0.0040\t0.0040", "x"), "line 9: no bin width"),
    ],
)
def test_other_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "h.txt"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        read_ascii_histogram(path)
