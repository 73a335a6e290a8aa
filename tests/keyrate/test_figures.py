from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from qdchar.cli.figures import figures
from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.published.figures import FIGURES, OWN, Width
from qdchar.keyrate.published.values import MEASURED, OTHERS
from qdchar.link import Link


def star(figure: Figure) -> tuple[float, float]:
    """Where the user's source is drawn."""
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_marker() == "*" and str(line.get_label()).startswith(OWN):
                (x,), (y,) = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
                return float(x), float(y)
    raise AssertionError("no star")


@pytest.mark.parametrize("name", ["fig1", "fig4b"])
def test_the_star_is_the_user_s_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdchar.keyrate.published.figures._MAP_POINTS", 12)
    source = SourceFigures.from_values(0.5, 0.03)
    on_the_spot = Link(channel_loss=0.0)  # type: ignore[arg-type]
    assert star(FIGURES[name](source, on_the_spot, 178)) == (0.5, 0.03)


@pytest.mark.parametrize("width", [178, 86])
def test_no_text_of_a_figure_is_cut_or_on_other_text(width: Width) -> None:
    figure = FIGURES["fig1"](SourceFigures(), Link(), width)
    FigureCanvasAgg(figure).print_figure(io.BytesIO())
    assert figure.get_figwidth() == pytest.approx(width / 25.4)
    page = figure.bbox
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 + 1 for b in boxes)
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_fig1_has_its_dashed_bounds() -> None:
    right = FIGURES["fig1"](SourceFigures(), Link(), 178).axes[1]
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    levels = sorted(float(np.asarray(line.get_ydata())[0]) for line in dashed[1:])
    # e eta / (2 (1 + eta^2)), from the table of the ideal case
    assert levels == pytest.approx([0.001359, 0.013590, 0.134568, 0.679570], rel=1e-3)
    assert np.asarray(dashed[0].get_xdata())[0] == pytest.approx(0.367879, rel=1e-5)


def test_fig3_has_the_measured_points_and_a_star_at_the_link() -> None:
    link = Link(channel_loss=8.0)  # type: ignore[arg-type]
    figure = FIGURES["fig3"](SourceFigures(), link, 178)
    loss, rate = star(figure)
    assert loss == 8.0
    assert 5e-3 < rate < 2e-2
    labels = figure.axes[0].get_legend_handles_labels()[1]
    years = [label for label in labels if " et al. " in label]
    assert len(years) == len({(m.source, m.where) for m in (*MEASURED, *OTHERS)})
    assert sum("field" in label for label in years) == 2


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
