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
