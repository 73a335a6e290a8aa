from __future__ import annotations

from pathlib import Path

from fuzz import fuzz


def test_damaged_files_are_refused_or_decoded_exactly(tmp_path: Path) -> None:
    ends = fuzz(600, 1, tmp_path)
    for suffix in (".ptu", ".qutag", ".h5"):
        assert ends[f"{suffix} refused"] > 0
        assert ends[f"{suffix} accepted"] > 0
    assert ends["equal to ptufile"] > 50
