"""qdchar as a library: a run folder as an object, tables, plots, and names that are all there."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

import qdchar
from qdchar.cli.calibrate._summary import table_1
from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.lab.outcome import conclude, load_outcome
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step
from qdchar.link import Link
from qdchar.record import TakenOver, make_record

DOCUMENTED = (
    *("qdchar", "qdchar.lab", "qdchar.tags", "qdchar.keyrate", "qdchar.report", "qdchar.exchange"),
    *("qdchar.tables", "qdchar.trends", "qdchar.history"),
)
PACKAGES = ("qdchar", "qdchar.lab", "qdchar.tags", "qdchar.keyrate", "qdchar.report")


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="measured", budget=(Contribution(name, u),))


def curve() -> Curve:
    x = np.array([1e-9, 2e-9, 4e-9])
    y = np.array([10.0, 30.0, 20.0])
    return Curve(
        "Rabi <scan>", "pump power (W)", "rate (1/s)", x, y, np.sqrt(y), y + 1, y - y + 0.3, x, y
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished calibration of three quantities, with one curve and one scan."""
    link = Link(block_kind="asymptotic")
    recipe = Recipe(min_rate_per_pulse=1e-4)
    found = [
        estimate("mean_photon_number", 0.31, 0.004),
        estimate("g2_zero", 0.0065, 0.0002),
        estimate("clock_rate", 80e6, 1.0),
    ]
    pi = estimate("pi_power", 9.7e-9, 1e-10)
    fit = Fit("sine", ("pi_power",), np.array([9.7e-9]), np.eye(1), "chi2", 2.0, 2, (curve(),))
    with Run.create(tmp_path_factory.mktemp("runs"), "QD7", "calibrate") as run:
        (run.raw / "rabi.csv").write_text("power_nW,clicks_a,clicks_b,dwell_ms\n1,17,19,10\n")
        run.keep_step(Step("rabi", "pi pulse", Result((pi,), (fit,)), ("raw/rabi.csv",)))
        run.keep_step(Step("hbt_after", "g2", Result((found[1],), (), ("few <clicks>",)), ()))
        run.keep_text("recipe.json", recipe.model_dump_json())
        run.keep_text("link.json", link.model_dump_json())
        record = make_record(
            found,
            qdchar_version="0",
            source="QD <7>",
            station="lab",
            simulated=True,
            valid_for=timedelta(hours=1),
            tuning={},
            raw=run.raw_files(),
        )
        conclude(run, record, link, recipe)
    return run.folder


def test_each_measurement_is_an_attribute(folder: Path) -> None:
    run = qdchar.load_run(str(folder))
    assert {"rabi", "hbt_after", "record", "verdict"} <= set(dir(run))
    assert run.rabi.quantities["pi_power"].value == 9.7e-9
    assert run["rabi"] is run.rabi
    assert run.hbt_after.problems == ("few <clicks>",)
    assert run.problems == ("g2: few <clicks>",)
    assert run.record.quantities["g2_zero"].value == 0.0065
    assert run.verdict.decision == "GO"
    assert run.verdict.rate is not None
    assert run.key_rate.rate_per_pulse == run.verdict.rate.rate_per_pulse
    with pytest.raises(AttributeError, match="rabi, hbt_after"):
        run.cavity  # noqa: B018
    with pytest.raises(KeyError, match="rabi, hbt_after"):
        run["cavity"]


def test_points_and_fit_as_a_table(folder: Path) -> None:
    run = qdchar.load_run(folder)
    frame = run.rabi.to_frame()
    assert frame["y"].tolist() == [10.0, 30.0, 20.0]
    assert frame["fit"].tolist() == [11.0, 31.0, 21.0]
    assert frame.attrs["units"] == {"Rabi <scan>": ("W", "1/s")}
    raw = run.rabi.raw_frame()
    assert raw.loc[0, ["power_W", "clicks_b", "dwell_s"]].tolist() == [1e-9, 19, 0.01]
    assert run.hbt_after.to_frame().empty
    assert run.hbt_after.raw_frame().empty


def test_tables_of_a_run(folder: Path) -> None:
    run = qdchar.load_run(folder)
    assert run.to_frame().loc["pi_power", "u"] == pytest.approx(1e-10)
    table = run.table1()
    assert table.loc["g2_zero", ["value", "paper", "origin"]].tolist() == [
        0.0065,
        0.00698,
        "measured",
    ]
    assert table.loc["channel_loss", "unit"] == "dB"
    budget = run.budget("g2_zero")
    assert budget.loc[0, ["source", "u", "share"]].tolist() == ["g2_zero", 0.0002, 1.0]
    curve = run.key_rate_curve([run.key_rate.loss_dB, 40.0])
    assert curve["rate_per_pulse"][0] == pytest.approx(run.key_rate.rate_per_pulse, rel=1e-9)
    assert curve["rate_per_pulse"][1] < curve["rate_per_pulse"][0]
    assert run.record.to_frame().loc["clock_rate", "unit"] == "Hz"


def test_table_1_on_a_terminal_fits_80_columns(folder: Path) -> None:
    from rich.console import Console

    outcome = load_outcome(folder)
    taken = TakenOver(
        measurement="hbt_after",
        quantities=("g2_zero",),
        run="another",
        measured=outcome.record.created,
        age_hours=123.4,
        why="earlier run",
    )
    outcome = replace(outcome, record=outcome.record.model_copy(update={"taken_over": (taken,)}))
    console = Console(width=80, record=True, file=StringIO())
    console.print(table_1(outcome))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("mean photon number <n>", "6.50(20)e-3", "6.98(64)e-3", "80.00000 MHz"):
        assert whole in text


def test_a_plot_is_axes_of_the_points(folder: Path) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.use("agg")
    run = qdchar.load_run(folder)
    axes = run.rabi.plot()
    assert axes.get_title(loc="left").strip() == "Rabi <scan>"
    _, other = pyplot.subplots()
    assert run.rabi.plot(axes=other) is other
    pyplot.close("all")
    with pytest.raises(RecordError, match="no curve 0"):
        run.hbt_after.plot()


def test_what_a_notebook_shows_is_escaped_and_holds_the_numbers(folder: Path) -> None:
    run = qdchar.load_run(folder)
    shown = {
        "record": run.record._repr_html_(),
        "run": run._repr_html_(),
        "step": run.hbt_after._repr_html_(),
        "estimate": run.rabi.quantities["pi_power"]._repr_html_(),
        "result": run.rabi.result._repr_html_(),
        "rate": run.key_rate._repr_html_(),
    }
    assert "QD &lt;7&gt;" in shown["record"]
    assert "few &lt;clicks&gt;" in shown["step"]
    assert all("<clicks>" not in html and "<7>" not in html for html in shown.values())
    assert "9.70(10) nW" in shown["estimate"]
    assert "9.70(10) nW" in shown["result"]
    assert "GO" in shown["run"]
    assert f"{run.key_rate.loss_dB:g} dB" in shown["rate"]


def test_a_damaged_step_hides_nothing(folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    kept = (folder / "results" / "01_rabi.json").read_text(encoding="utf-8")
    (results / "01_rabi.json").write_text(kept, encoding="utf-8")
    (results / "02_hbt_after.json").write_text(kept[:100], encoding="utf-8")
    with pytest.warns(UserWarning, match="02_hbt_after"):
        run = qdchar.load_run(tmp_path)
    assert run.rabi.title == "pi pulse"
    assert "02_hbt_after" in run.damaged[0]
    with pytest.raises(RecordError, match=r"record\.json"):
        run.record  # noqa: B018
    assert "record.json" in run._repr_html_()
    with pytest.raises(RecordError, match="not a run folder"):
        qdchar.load_run(results)


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_holds_all_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_importing_the_library_waits_for_nothing_heavy() -> None:
    heavy = ("numpy", "pandas", "scipy", "numba", "matplotlib", "pydantic", "lmfit", "h5py")
    code = (
        "import sys, qdchar; dir(qdchar);"
        f"print([m for m in {heavy} if m in sys.modules]);"
        "assert qdchar.analysis.hbt.analyse"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def _public() -> Iterator[tuple[str, object]]:
    """Names of the packages and modules, and the functions that all analyses and protocols have."""
    for package in DOCUMENTED:
        module = importlib.import_module(package)
        own = [n for n, o in vars(module).items() if getattr(o, "__module__", "") == package]
        for name in getattr(module, "__all__", [n for n in own if not n.startswith("_")]):
            yield f"{package}.{name}", getattr(module, name)
    for family in (qdchar.analysis, qdchar.protocols):
        for stem in family.__all__:
            module = getattr(family, stem)
            for name in ("analyse", "analyse_file", "measure"):
                if hasattr(module, name):
                    yield f"{module.__name__}.{name}", getattr(module, name)


def _undocumented(name: str, thing: object) -> Iterator[str]:
    """Yield what has no docstring, and each parameter or field of which none says anything."""
    if inspect.ismodule(thing) or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    text = inspect.getdoc(thing) or ""
    if ".protocols." in name:
        text += inspect.getdoc(qdchar.protocols) or ""
    if not text:
        yield name
    if dataclasses.is_dataclass(thing):
        wanted = [field.name for field in dataclasses.fields(thing)]
    elif inspect.isclass(thing) and issubclass(thing, BaseModel):
        wanted = [field for field in thing.model_fields if not field.endswith("_")]
    elif inspect.isclass(thing) and getattr(thing, "_is_protocol", False):
        wanted = []
    else:
        wanted = [p for p in inspect.signature(thing).parameters if p not in ("args", "kwargs")]
    for word in wanted:
        said = rf"(^|, |\*\*){word}(,|$| :)|`{word}`"
        if not word.startswith("_") and not re.search(said, text, re.M):
            yield f"{name}({word})"
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        function = getattr(value, "fget", getattr(value, "func", getattr(value, "__func__", value)))
        if not member.startswith("_") and inspect.isfunction(function) and not function.__doc__:
            yield f"{name}.{member}"


def test_every_public_name_is_documented() -> None:
    things = dict(_public())
    assert len(things) > 100
    assert [gap for name, thing in things.items() for gap in _undocumented(name, thing)] == []


def test_a_path_may_be_text_wherever_one_is_taken() -> None:
    """No public function takes a `pathlib.Path` and nothing else."""
    wrong = []
    for name, thing in _public():
        if inspect.isroutine(thing):
            for parameter in inspect.signature(thing).parameters.values():
                if re.match(r"Path\b", str(parameter.annotation)):
                    wrong.append(f"{name}({parameter.name})")
    assert wrong == []


def test_text_paths_work(folder: Path) -> None:
    file = folder / "raw" / "rabi.csv"
    assert qdchar.read_scan(str(file)).x.tolist() == [1e-9]
    assert qdchar.load_record(str(folder), accept=True).source == "QD <7>"
    (record,) = qdchar.load_history(str(folder.parent))
    assert record.source == "QD <7>"
    assert load_outcome(str(folder)).verdict.decision == "GO"
