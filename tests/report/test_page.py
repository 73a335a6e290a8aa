"""The page of a whole run: its numbers are the record's, and a browser shows it as it is meant."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import replace
from datetime import timedelta
from html import escape
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.outcome import conclude
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step, read_steps
from qdchar.link import Link
from qdchar.quantities import quantity
from qdchar.record import load_record, make_record
from qdchar.report import pdf, write_report

BROWSER = pdf.chromium()
needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
VALUES = {
    "clock_rate": (80.1e6, 30.0),
    "mean_photon_number": (0.31, 0.004),
    "g2_zero": (0.0065, 0.0002),
    "misalignment": (0.021, 0.0007),
    "lifetime": (63.2e-12, 0.45e-12),
    "dark_count_rate": (41.0, 1.3),
}
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}


def estimate(name: str, k: int) -> Estimate:
    value, u = VALUES.get(name, (0.1 + 0.0137 * k, 0.0031))
    return Estimate(name=name, value=value, method="m", budget=(Contribution(f"error {k}", u),))


def curve(k: int) -> Curve:
    x = np.linspace(0.0, 10.0, 60)
    y = 100.0 + 40.0 * np.sin(x + k)
    noise = np.random.default_rng(k).normal(size=x.size)
    return Curve(
        title=f"Scan {k}",
        x_label="voltage (V)",
        y_label="rate (1/s)",
        x=x,
        y=y + 10.0 * noise,
        u_y=np.full(x.size, 10.0),
        model=y,
        residuals=noise,
        x_line=x,
        y_line=y,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder with a step of every measurement of a calibration, and its page."""
    runs = tmp_path_factory.mktemp("runs")
    make_run(runs, estimate("lifetime", 0))
    folder = make_run(runs)
    write_report(folder)
    return folder


def make_run(runs: Path, *only: Estimate) -> Path:
    """Make a finished calibration, with curves if it is no earlier one with few quantities."""
    made: dict[str, Estimate] = {e.name: e for e in only}
    if only:
        needed = ("clock_rate", "mean_photon_number", "g2_zero", "misalignment")
        made |= {name: replace(estimate(name, 1), value=1.01 * VALUES[name][0]) for name in needed}
    with Run.create(runs, "QD7", "calibrate") as run:
        for k, m in enumerate(MEASUREMENTS.values()):
            if m.calibration == "on request" or only:
                continue
            found = [estimate(name, k) for name in m.quantities]
            made |= {e.name: e for e in found}
            curves = (curve(k), curve(k + 50)) if k % 5 == 2 else (curve(k),)
            fit = Fit("sine", ("a",), np.ones(1), np.eye(1), "chi2", 61.0, 59, curves)
            problems = ("the light was unsteady",) if m.name == "hom" else ()
            run.keep_step(Step(m.name, m.title, Result(tuple(found), (fit,), problems), ()))
        recipe, link = Recipe(), Link(block_kind="asymptotic")
        run.keep_text("recipe.json", recipe.model_dump_json())
        run.keep_text("link.json", link.model_dump_json())
        record = make_record(
            list(made.values()),
            qdchar_version="0",
            source="QD7",
            station="lab",
            simulated=True,
            valid_for=timedelta(hours=1),
            tuning={},
        )
        conclude(run, record, link, recipe)
    return run.folder


def si_value(written: str) -> tuple[float, float]:
    """Value and u in SI units of a text such as 63.20(45) ps or 6.50(20) × 10⁻³."""
    pattern = r"(-?[\d.]+)\((\d+)\)(?:\s×\s10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?(?: (\S+))?"
    match = re.fullmatch(pattern, written)
    assert match is not None, written
    number, digits, power, unit = match.groups()
    scale = 10.0 ** int((power or "0").translate(SUPERSCRIPTS))
    if unit and len(unit) > 1 and unit[0] in PREFIXES and unit not in ("m", "dB"):
        scale *= PREFIXES[unit[0]]
    return float(number) * scale, int(digits) * 10.0 ** -len(number.partition(".")[2]) * scale


def test_every_number_on_the_page_is_the_run_s(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    record = load_record(folder, accept=True)
    of_steps = {e.name: e for step in read_steps(folder) for e in step.result.estimates}
    shown = re.findall(
        r'<div class="quantity" title="(\w+):[^"]*">.*?<b class="num">([^<]+)</b>', page
    )
    assert {name for name, _ in shown} == set(of_steps)
    rows = re.findall(r'<tr title="(\w+): [^"]*">.*?class="num value">([^<]+)</td>', page)
    measured = [(name, text) for name, text in rows if name in VALUES and "(" in text]
    assert len(measured) >= 4
    for name, text in (*shown, *measured):
        value, u = si_value(text)
        expected = record.estimate(name)
        # two digits of u are printed, and no digit of the value beyond them
        assert value == pytest.approx(expected.value, abs=0.051 * expected.u), name
        assert u == pytest.approx(expected.u, rel=0.05, abs=0.0), name


def test_the_last_run_stands_beside_with_the_change_over_its_uncertainty(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    row = re.search(r'<tr title="mean_photon_number: .*?</tr>', page)
    assert row is not None
    assert ">0.3131(40)<" in row[0]
    # 0.0031 over the uncertainty of a difference of two independent values
    assert f">−{0.0031 / (0.004 * 2**0.5):.1f} u<" in row[0]


def test_the_page_asks_nobody_for_anything_and_names_problems_on_top(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "url(" not in page
    assert "<script" not in page
    hom = page[page.index('id="measurement-hom"') :]
    assert hom.index("PROBLEM: the light was unsteady") < hom.index("<img")
    for name in ("cavity_fwhm_voltage", "g2_zero", "mean_photon_number"):
        assert not re.search(rf">[^<]*\b{name}\b[^<]*</(?:td|span|b|h3|dt)>", page)
    assert quantity("mean_photon_number").words.replace("<", "&lt;").replace(">", "&gt;") in page


PROBE = """<script>
window.failed = []; window.addEventListener("error", e => failed.push(String(e.message)), true);
window.addEventListener("load", () => {
  const box = q => document.querySelector(q).getBoundingClientRect();
  const images = [...document.images].filter(i => i.closest("details:not([open])") === null);
  const seen = i => i.naturalWidth > 0 && i.getBoundingClientRect().width > 200;
  const answer = {
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    width: window.innerWidth,
    bottom: {verdict: box(".verdict strong").bottom, rate: box(".rate b").bottom,
             banner: box(".banner").bottom, limits: box(".rate ol").bottom,
             table_top: box(".first table").top},
    hidden: images.filter(i => !seen(i)).length,
    images: images.length,
    requests: performance.getEntriesByType("resource").map(r => r.name)
      .filter(n => !n.startsWith("data:")),
    failed: window.failed};
  parent.postMessage("PROBE" + JSON.stringify(answer) + "END", "*");
});
</script></head>"""
FRAME = """<!doctype html><script>
window.addEventListener("message", e => document.body.append(e.data));
</script><body><iframe style="border: 0; width: {width}px; height: {height}px" srcdoc="{page}">
</iframe></body>"""
"""A window of Chromium has at least 500 px; a frame in it may be narrower."""


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1440, 900)])
def test_in_a_browser_nothing_overflows_and_the_first_screen_says_it(
    folder: Path, tmp_path: Path, width: int, height: int
) -> None:
    assert BROWSER is not None
    probed = tmp_path / "probed.html"
    page = (folder / "report.html").read_text().replace("</head>", PROBE, 1)
    probed.write_text(FRAME.format(width=width, height=height, page=escape(page)))
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                *pdf.command(BROWSER, profile),
                *("--enable-logging=stderr", "--window-size=1600,1300", "--dump-dom"),
                probed.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
    assert "CONSOLE" not in done.stderr
    found = re.search(r"PROBE(\{.*\})END", done.stdout)
    assert found is not None
    answer = json.loads(found[1])
    assert answer["width"] == width
    assert answer["overflow"] <= 0
    assert answer["hidden"] == 0
    assert answer["images"] > 15
    assert (answer["requests"], answer["failed"]) == ([], [])
    first = ["banner", "verdict", "rate", *(["limits"] if width > 1000 else [])]
    assert all(answer["bottom"][name] <= height for name in first), answer["bottom"]


@needs_browser
def test_a_full_calibration_prints_on_at_most_8_pages(folder: Path) -> None:
    printed = pdf.write_pdf(folder / "report.html").read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))
    assert 1 <= pages <= 8


def test_without_chromium_the_pdf_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UsageError, match="apt install chromium"):
        pdf.write_pdf(folder / "report.html")
