"""Figures: units and words on the axes, all formats, and tables that hold what is drawn."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Mark, Result, Series
from qdchar.keyrate import KeyRate, SourceFigures, predict
from qdchar.lab.run import Run, Step, read_step
from qdchar.link import load_link
from qdchar.report.figures import (
    draw_curve,
    draw_key_rate,
    embedded,
    plot,
    write_key_rate_figure,
    write_step_figures,
)
from qdchar.report.figures.curves import bin_edges
from qdchar.report.figures.files import curve_table
from qdchar.report.figures.units import Scale, math_symbol, written


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="", budget=(Contribution(name, u),))


POWER_W = np.array([0.0, 2.5e-9, 5e-9, 1e-8, 1.5e-8, 2e-8])
CPS = 3.4e7 * np.sin(0.5 * np.pi * np.sqrt(POWER_W / 1e-8)) ** 2 + 45.0
FINE_W = np.linspace(0.0, 2e-8, 301)

RABI = Curve(
    title="Rabi oscillation",
    x_label="pump power P (W)",
    y_label="count rate (1/s)",
    x=POWER_W,
    y=CPS,
    u_y=np.sqrt(CPS),
    model=1.001 * CPS,
    residuals=np.array([0.3, -2.4, 1.1, 0.2, -0.7, 0.5]),
    x_line=FINE_W,
    y_line=3.4e7 * np.sin(0.5 * np.pi * np.sqrt(FINE_W / 1e-8)) ** 2,
    quantities=("pi_power",),
    marks=(Mark(1e-8, "π pulse"),),
)
_BIN_NS = 0.026 * (np.arange(400) - 200)
_PAIRS = np.random.default_rng(5).poisson(300.0 * np.exp(-np.abs(_BIN_NS) / 0.4) + 2.0)
HISTOGRAM = Curve(
    title="Coincidences of the two detectors",
    x_label="delay τ (ns)",
    y_label="counts per bin",
    x=_BIN_NS,
    y=_PAIRS.astype(float),
    u_y=np.sqrt(_PAIRS + 0.5),
    model=np.zeros(0),
    residuals=np.zeros(0),
    x_line=np.zeros(0),
    y_line=np.zeros(0),
    kind="histogram",
    data_label="parallel",
    others=(Series("orthogonal", _BIN_NS, 2.0 * _PAIRS, "steps"),),
    quantities=("visibility",),
    enlarged=(-1.0, 1.0),
)
STATES = Curve(
    title="Misalignment by state",
    x_label="state",
    y_label="wrong clicks (%)",
    x=np.array([1.0, 2.0, 3.0]),
    y=np.array([2.4, 2.2, 2.9]),
    u_y=np.array([0.02, 0.02, 0.02]),
    model=np.full(3, 2.5),
    residuals=np.zeros(0),
    x_line=np.array([0.5, 3.5]),
    y_line=np.full(2, 2.5),
    tick_labels=("H", "V", "D"),
    others=(Series("other way", np.array([1.0]), np.array([2.5]), "points", np.array([0.1])),),
)
RESULT = Result(
    (estimate("pi_power", 1.001e-8, 6e-11), estimate("visibility", 0.9619, 0.00076)),
    (Fit("A sin^2", ("a",), np.ones(1), np.eye(1), "chi2", 3.0, 4, (RABI, HISTOGRAM, STATES)),),
)
STEP = Step("rabi", "pi pulse", RESULT, ())


def _texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [t.get_text() for t in figure.findobj(Text) if t.get_visible()]


@functools.cache
def _key_rates() -> tuple[tuple[KeyRate, ...], KeyRate]:
    figures = [("mean_photon_number", 0.3, 0.009), ("g2_zero", 0.0073, 1.5e-4)]
    source = SourceFigures.from_estimates(
        *(estimate(*f) for f in figures), estimate("clock_rate", 76.13e6, 1.0)
    )
    link = load_link(None)
    only = ("wcp-vacuum-weak-bb84",)
    here, *points = predict(source, link, loss_dB=[10.0, 0.0, 12.0, 24.0, 40.0], comparators=only)
    return tuple(points), here


@pytest.mark.parametrize("curve", [RABI, HISTOGRAM, STATES], ids=lambda c: c.title)
def test_people_read_words_and_units(curve: Curve) -> None:
    for text in _texts(draw_curve(curve, RESULT.estimates)):
        outside = re.sub(r"\$[^$]*\$", "", text)  # formulas are set as such
        assert not re.search(r"\d[eE][-+]?\d|_", outside), text


def test_axes_have_prefixes_and_the_plot_its_quantity() -> None:
    texts = _texts(draw_curve(RABI, RESULT.estimates))
    assert "pump power $P$ (nW)" in texts
    assert any("(Mcps)" in t for t in texts)
    assert any("$P_{\\pi}$ = 10.010(60) nW" in t for t in texts)
    assert "residual\n/ u" in texts
    assert not any("residual" in t for t in _texts(draw_curve(HISTOGRAM)))


@pytest.mark.parametrize(
    ("label", "largest", "unit", "on_axis"),
    [
        ("pump power P (W)", 2e-7, "nW", 200.0),
        ("frequency (Hz)", 2.7e10, "GHz", 27.0),
        ("time t (s)", 7200.0, "s", 7200.0),
        ("delay (ns)", 0.35, "ps", 350.0),
        ("delay (ns)", 1400.0, "µs", 1.4),
        ("wavelength (nm)", 884.5, "nm", 884.5),
        ("count rate (1/s)", 3.1e7, "Mcps", 31.0),
        ("photons per pulse", 0.45, "", 0.45),
        ("photons per pulse", 4.5e-4, "10⁻⁶", 450.0),
        ("counts per bin", 2.5e5, "10³", 250.0),
        ("wrong clicks (%)", 2.5, "%", 2.5),
    ],
)
def test_a_prefix_makes_numbers_readable(
    label: str, largest: float, unit: str, on_axis: float
) -> None:
    scale = Scale.of(label, [np.array([0.0, -0.1 * largest, largest])])
    assert scale.unit == unit
    assert float(scale(largest)) == pytest.approx(on_axis, rel=1e-12)  # rounding


def test_symbols_are_set_as_formulas() -> None:
    assert math_symbol("g2(0)_s") == r"$g^{(2)}_{\mathrm{s}}(0)$"
    assert math_symbol("b, sent") == r"$b_{\mathrm{sent}}$"
    small = estimate("g2_zero", 7.26e-3, 1.4e-4)
    assert written(small) == r"$g^{(2)}(0)$ = 7.26(14)$\times10^{-3}$"


def test_bins_are_drawn_as_they_are() -> None:
    edges = bin_edges(HISTOGRAM.x)
    assert np.diff(edges) == pytest.approx(np.full(400, 0.026), rel=1e-9)
    steps = draw_curve(HISTOGRAM).axes[0].patches[0].get_data()
    assert steps.values.tolist() == _PAIRS.tolist()
    assert steps.edges[[0, -1]].tolist() == pytest.approx([-5.213, 5.187])


def test_every_format_and_a_table_that_holds_what_is_drawn(tmp_path: Path) -> None:
    files = write_step_figures(STEP, tmp_path)
    assert sorted(f.name for f in files) == sorted(
        f"rabi_{k}.{kind}" for k in (1, 2, 3) for kind in ("csv", "pdf", "png", "svg")
    )
    begins = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for file in files:
        if file.suffix != ".csv":
            assert file.read_bytes().startswith(begins[file.suffix[1:]])
    # 86 mm wide: the header of a PNG holds its width, 300 dots per inch
    width = int.from_bytes((tmp_path / "rabi_1.png").read_bytes()[16:20], "big")
    assert width == pytest.approx(86.0 / 25.4 * 300.0, abs=1.0)

    rows = _rows(tmp_path / "rabi_1.csv")
    assert list(rows[0]) == [
        "series",
        "pump power P (nW)",
        "count rate (Mcps)",
        "standard uncertainty (Mcps)",
        "fit (Mcps)",
        "residual (u)",
    ]
    data = [r for r in rows if r["series"] == "data"]
    assert _column(data, "pump power P (nW)") == pytest.approx(1e9 * POWER_W)
    assert _column(data, "count rate (Mcps)") == pytest.approx(1e-6 * CPS)
    assert _column(data, "standard uncertainty (Mcps)") == pytest.approx(1e-6 * np.sqrt(CPS))
    assert _column(data, "residual (u)") == pytest.approx(RABI.residuals)
    line = [r for r in rows if r["series"] == "fit"]
    assert _column(line, "pump power P (nW)") == pytest.approx(1e9 * FINE_W)
    assert _column(line, "fit (Mcps)") == pytest.approx(1e-6 * RABI.y_line)
    (mark,) = (r for r in rows if r["series"] == "mark: π pulse")
    assert float(mark["pump power P (nW)"]) == pytest.approx(10.0)

    pairs = _rows(tmp_path / "rabi_2.csv")
    crossed = [r for r in pairs if r["series"] == "orthogonal"]
    assert _column(crossed, "counts per bin") == pytest.approx(2.0 * _PAIRS)


def test_residuals_of_groups_stand_where_they_are() -> None:
    grouped = replace(
        HISTOGRAM, residuals=np.array([1.5, -0.5]), x_residuals=np.array([-1.25, 2.5])
    )
    rows = [r for r in curve_table(grouped) if r[0] == "residuals"]
    assert [r[1] for r in rows] == pytest.approx([-1.25, 2.5])
    assert [r[-1] for r in rows] == pytest.approx([1.5, -0.5])


def test_the_key_rate_shows_band_link_reach_and_the_same_protocol(tmp_path: Path) -> None:
    points, here = _key_rates()
    texts = _texts(draw_key_rate(points, here))
    for text in texts:
        assert not re.search(r"\d[eE][-+]?\d|_|wcp", re.sub(r"\$[^$]*\$", "", text)), text
    assert any(t.startswith("key up to") for t in texts)
    assert "coherent light, BB84, vacuum + weak decoy" in texts
    files = write_key_rate_figure(points, here, tmp_path)
    assert [f.suffix for f in files] == [".svg", ".pdf", ".png", ".csv"]
    rows = _rows(files[-1])
    (link,) = (r for r in rows if r["series"] == "this link")
    rate, u = here.rate_per_pulse, here.rate_per_pulse_u
    assert float(link["secret bits per pulse"]) == rate
    assert float(link["95 % band, upper end"]) == pytest.approx(rate + 2.0 * u)
    own = [r for r in rows if r["series"] == "this source"]
    assert _column(own, "secret bits per pulse") == [p.rate_per_pulse for p in points]
    other = [r for r in rows if r["series"].startswith("coherent light")]
    assert _column(other, "secret bits per pulse") == [
        p.comparator(here.comparator_name).rate_per_pulse for p in points
    ]


def test_the_band_is_as_wide_as_four_standard_uncertainties() -> None:
    points, here = _key_rates()
    below = draw_key_rate(points, here).axes[1]
    (band,) = (c for c in below.collections if len(c.get_paths()[0].vertices) > 4)
    top = float(band.get_paths()[0].vertices[:, 1].max())
    relative = [p.rate_per_pulse_u / p.rate_per_pulse for p in points if p.rate_per_pulse > 0]
    assert top == pytest.approx(200.0 * max(relative))


def test_a_page_takes_vectors_for_few_points_and_pixels_for_many() -> None:
    assert embedded(draw_curve(RABI)).startswith("data:image/svg+xml;base64,")
    many = replace(
        RABI,
        **{
            name: np.tile(getattr(RABI, name), 60)
            for name in ("x", "y", "u_y", "model", "residuals")
        },
    )
    image = embedded(draw_curve(many))
    assert image.startswith("data:image/png;base64,")
    assert len(image) < 150_000


def test_a_curve_can_be_drawn_into_axes_of_ones_own() -> None:
    axes = Figure().subplots()
    assert plot(RABI, axes, RESULT.estimates) is axes
    assert axes.get_xlabel() == "pump power $P$ (nW)"
    assert len(axes.lines[-2].get_xdata()) == len(FINE_W)


def test_a_run_keeps_curves_and_reads_those_of_older_versions(tmp_path: Path) -> None:
    with Run.create(tmp_path, "dot", "measure") as run:
        run.keep_step(STEP)
    (file,) = (run.folder / "results").glob("*.json")
    again = read_step(file).result.fits[0].curves
    assert again[0].marks == RABI.marks
    assert again[0].quantities == RABI.quantities
    assert again[1].enlarged == HISTOGRAM.enlarged
    assert again[1].others[0].y.tolist() == (2.0 * _PAIRS).tolist()
    assert again[2].tick_labels == STATES.tick_labels
    data = json.loads(file.read_text())
    old = ("title", "x_label", "y_label", "x", "y", "u_y", "model", "residuals", "x_line", "y_line")
    for fit in data["fits"]:
        fit["curves"] = [{k: c[k] for k in (*old, "log_y")} for c in fit["curves"]]
    file.write_text(json.dumps(data))
    (first, *_) = read_step(file).result.fits[0].curves
    assert first.kind == "points"
    assert first.x.tolist() == POWER_W.tolist()
    draw_curve(first)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _column(rows: list[dict[str, str]], name: str) -> list[float]:
    values = [float(r[name]) for r in rows]
    assert all(map(math.isfinite, values))
    return values
