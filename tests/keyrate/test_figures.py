from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from qdchar.cli.figures import figures
from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.published.figures import FIGURES
from qdchar.link import Link


def star(figure: Figure) -> tuple[float, float]:
    """Where the user's source is drawn."""
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_marker() == "*":
                (x,), (y,) = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
                return float(x), float(y)
    raise AssertionError("no star")


@pytest.mark.parametrize("name", ["fig1", "fig4b"])
def test_the_star_is_the_user_s_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdchar.keyrate.published.figures._MAP_POINTS", 12)
    monkeypatch.setattr("qdchar.keyrate.published.figures._LOSSES_DB", (0.0,))
    source = SourceFigures.from_values(0.5, 0.03)
    assert star(FIGURES[name](source, Link())) == (0.5, 0.03)


def test_fig3_has_the_measured_points_and_a_star_at_the_link() -> None:
    link = Link(channel_loss=8.0)  # type: ignore[arg-type]
    figure = FIGURES["fig3"](SourceFigures(), link)
    loss, rate = star(figure)
    assert loss == 8.0
    assert 5e-3 < rate < 2e-2
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert sum("measured" in label for label in labels) == 4


def test_command_writes_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(figures, ["fig1", "--out", str(tmp_path / "new"), "--json"])
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout.splitlines()[-1])["files"]
    assert [Path(f).name for f in files] == ["fig1.png", "fig1.pdf"]
    assert all(Path(f).stat().st_size > 1000 for f in files)
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(figures, ["fig1", "--out", str(tmp_path / "file")])
    assert isinstance(refused.exception, UsageError)


def test_published_table() -> None:
    result = CliRunner().invoke(keyrate, ["--published", "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.stdout.splitlines()[-1])
    assert len(answer["published"]) == 18
    assert answer["relation"]["crossing_dB_from_boundary"] == pytest.approx([17.7, 18.6], abs=0.06)
    assert [row["reproduced"] for row in answer["account"]].count(False) == 1
    assert len(answer["pulls"]) == 5
    assert "19 dB demand nu" in result.stdout
    assert "No variant within 5 %" in result.stdout
