"""The house rules: who imports whom, which packages are installed, and that nothing cheats."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("qdchar", "drivers", "protocols", "analysis")
ROOF = {"__main__", "cli", "lab", "report"}
"""Folders and modules of qdchar/ that may import everything; all others are ground."""


def _modules(folder: str) -> Iterator[Path]:
    yield from (f for f in (ROOT / folder).rglob("*.py"))


def _imports(file: Path) -> Iterator[str]:
    """Absolute names of qdchar modules that a file imports from other folders."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "qdchar")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            if node.module == "qdchar":
                yield from (f"qdchar.{a.name}" for a in node.names)
            elif node.module.startswith("qdchar."):
                yield node.module


def _room(name: str) -> str:
    """``qdchar.analysis.hbt`` is in ``analysis``, ``qdchar.record`` in ``ground``."""
    parts = name.split(".")
    if len(parts) < 2 or parts[1] in ("__init__", "__version__"):
        return "ground"
    if parts[1] in FOLDERS:
        return parts[1]
    return "roof" if parts[1] in ROOF else "ground"


def _files_with_room() -> list[tuple[Path, str]]:
    found = []
    for folder in FOLDERS:
        for file in _modules(folder):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts if folder == "qdchar" else ("qdchar", *parts))
            found.append((file, _room(name)))
    return found


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("ground", {"ground"}),
        ("drivers", {"ground", "drivers"}),
        ("protocols", {"ground", "protocols"}),
        ("analysis", {"ground", "analysis"}),
    ],
)
def test_layers_point_down(room: str, allowed: set[str]) -> None:
    files = [f for f, r in _files_with_room() if r == room]
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in _imports(file)
        if _room(name) not in allowed
    ]
    assert not wrong


def test_protocols_and_analyses_cannot_see_the_simulated_lab() -> None:
    """Neither by import, nor by a word: the truth reaches them through sockets only."""
    for folder in ("protocols", "analysis"):
        for file in _modules(folder):
            text = file.read_text(encoding="utf-8").lower()
            for word in ("twin", "truth", "drivers"):
                assert word not in text.replace("ground truth", ""), f"{file.name} says {word!r}"


def test_importing_protocols_and_analyses_loads_no_driver() -> None:
    code = (
        "import sys, qdchar.protocols, qdchar.analysis;"
        "print([m for m in sys.modules if m.startswith('qdchar.drivers')])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"


LAYERS = {
    "etalon.two_lines": "the rival model of the line, with its fits",
    "hbt.expected_peaks": "peak areas of a source and of a run, beneath the results",
    "hbt.g2_live_gated": "method for runs with a pulse clock, beside peak areas",
    "hbt.g2_peak_areas": "method for files without a pulse clock, beside live gating",
    "hbt.time_average": "statistics of a blinking source, beneath the results",
    "hbt_cw.dip_results": "results and drawing of a dip, above its fit",
    "hbt_cw.response_tail": "rival of the Gaussian response, beside the fit of a dip",
    "lifetime.from_file": "files of others, beside the runs of a calibration",
    "lifetime.gaussian_response": "model without a measured response, beside the one with it",
    "lifetime.goodness_of_fit": "statistics of a response that is a histogram, beneath the fit",
    "lifetime.multi_exponential": "model with several exponentials, beside the single one",
    "models.cavity_modes": "shapes of a resonance and their starts, beneath the fit of a scan",
    "models.fringes": "shape of a background and its starts, beneath the fit of a spectrum",
    "models.rabi_rivals": "rivals of a model and their starts, beneath the fit of a scan",
    "purcell.detuned_decays": "decay at each detuning, beneath the fit against detuning",
    "statistics.derivatives": "numerics of a Jacobian, beneath the fit",
    "statistics.monte_carlo": "GUM Supplement 1, shared although one measurement needs it today",
}
"""Modules of analysis that only one other imports, and why they are a layer of their own."""

INTERFACE = {"analyse", "analyse_file"}
"""Functions that every measurement of analysis has under the same name."""


def _analysis() -> dict[str, ast.Module]:
    """Modules of analysis without its packages' ``__init__``, which are the interface."""
    return {
        ".".join(f.relative_to(ROOT / "analysis").with_suffix("").parts): ast.parse(
            f.read_text(encoding="utf-8")
        )
        for f in sorted((ROOT / "analysis").rglob("*.py"))
        if f.name != "__init__.py"
    }


def _imported(package: list[str], tree: ast.Module) -> Iterator[list[str]]:
    """Full name, as parts, of each name that ``from ... import`` brings from qdchar."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if module[0] == "qdchar":
                yield from ([*module, alias.name] for alias in node.names)


def test_a_module_that_one_other_imports_is_a_layer() -> None:
    modules = _analysis()
    importers: dict[str, set[str]] = {name: set() for name in modules}
    for name, tree in modules.items():
        package = ["qdchar", "analysis", *name.split(".")[:-1]]
        for parts in _imported(package, tree):
            for length in (len(parts), len(parts) - 1):
                target = ".".join(parts[2:length])
                if target in modules:
                    importers[target].add(name)
    assert {name for name, of in importers.items() if len(of) == 1} == set(LAYERS)


def test_no_two_public_names_of_analysis_are_alike() -> None:
    """Functions, classes and constants; an alias of one type may stand in several modules."""
    owners: dict[str, list[str]] = {}
    aliases: dict[str, set[str]] = {}
    for module, tree in _analysis().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if ast.unparse(node.value).startswith("NDArray["):
                    aliases.setdefault(names[0], set()).add(ast.unparse(node.value))
                    continue
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            else:
                continue
            for name in names:
                if not name.startswith("_") and name not in INTERFACE:
                    owners.setdefault(name, []).append(module)
    assert not {name: where for name, where in owners.items() if len(where) > 1}
    assert not {name: what for name, what in aliases.items() if len(what) > 1 or name in owners}


def test_nothing_private_is_imported_from_another_family() -> None:
    """A name or module with an underscore is for its own folder and the folders in it."""
    wrong = []
    for folder in FOLDERS:
        for file in _modules(folder):
            parts = file.relative_to(ROOT).with_suffix("").parts
            package = [*(parts if folder == "qdchar" else ("qdchar", *parts))][:-1]
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for full in _imported(package, tree):
                for i, part in enumerate(full):
                    private = part.startswith("_") and not part.startswith("__")
                    if private and package[:i] != full[:i]:
                        wrong.append(f"{file.relative_to(ROOT)} imports {'.'.join(full)}")
    assert not wrong


def test_every_package_is_installed() -> None:
    """A forgotten sub-package works from a clone and is missing from the wheel."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        listed = set(tomllib.load(stream)["tool"]["setuptools"]["packages"])
    there = set()
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            there.add(".".join(parts if folder == "qdchar" else ("qdchar", *parts)))
    assert listed == there


def test_help_is_light() -> None:
    """What makes `qdchar --help` slow is not imported on its way."""
    code = (
        "import sys; from qdchar.cli import run; run(['--help']);"
        "print([m for m in ('lmfit', 'numba', 'matplotlib', 'pandas', 'scipy', 'h5py', 'numpy')"
        " if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.splitlines()[-1] == "[]"
