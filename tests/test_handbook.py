"""The handbook builds without a warning, and its commands and notebooks run as they stand."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from qdchar.cli import VERBS, cli
from qdchar.lab.measurements.registry import MEASUREMENTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
needs_sphinx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
    reason="needs the extra `docs`",
)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id" and value:
                self.names.add(value)
            if tag == "a" and key == "href" and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handbook")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run(
        [*command, str(DOCS), str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@needs_sphinx
def test_no_link_is_dead(pages: Path) -> None:
    read = {}
    for file in pages.rglob("*.html"):
        parser = _Links()
        parser.feed(file.read_text(encoding="utf-8"))
        read[file.resolve()] = parser
    dead = []
    for file, page in read.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (file.parent / path).resolve() if path else file
            if not target.exists() or (
                anchor and target in read and anchor not in read[target].names
            ):
                dead.append(f"{file.name}: {link}")
    assert dead == []


@needs_sphinx
def test_every_public_name_is_documented(pages: Path) -> None:
    """Each public class and function of each module of the reference, and of `import qdchar`."""
    import qdchar

    raw = (pages / "objects.inv").read_bytes()
    inventory = zlib.decompress(raw[raw.index(b"zlib.\n") + len(b"zlib.\n") :]).decode()
    listed = {line.split(" ")[0] for line in inventory.splitlines()}
    modules = {n.removeprefix("module-") for n in listed if n.startswith("qdchar.")}
    documented = [m for m in modules if find_spec_of(m)]
    missing = []
    for module in documented:
        for name, thing in vars(import_module(module)).items():
            own = getattr(thing, "__module__", "") == module and name.isidentifier()
            if own and name[0] != "_" and (inspect.isclass(thing) or inspect.isfunction(thing)):
                missing += [] if f"{module}.{name}" in listed else [f"{module}.{name}"]
    for name in qdchar.__all__:
        thing = getattr(qdchar, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            full = f"{thing.__module__}.{thing.__qualname__}"
            missing += [] if full in listed else [full]
    assert len(documented) > 50
    assert missing == []


def find_spec_of(name: str) -> bool:
    """Say whether a name of the inventory is a module."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a class or function: its parent is no package
        return False


@needs_sphinx
def test_every_command_and_measurement_has_its_place(pages: Path) -> None:
    commands = (pages / "generated" / "commands.html").read_text(encoding="utf-8")
    assert [v for v in VERBS if f"qdchar {v}" not in commands] == []
    measurements = (pages / "generated" / "measurements.html").read_text(encoding="utf-8")
    assert [m for m in MEASUREMENTS if f'id="{m.replace("_", "-")}"' not in measurements] == []


def _commands() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    return [
        (page.name, line.split("#")[0].strip().removeprefix("$ "))
        for page in pages
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        for line in block.splitlines()
        if line.startswith("qdchar ")
    ]


@pytest.mark.parametrize(("page", "command"), _commands())
def test_each_command_of_a_page_exists_with_its_options(page: str, command: str) -> None:
    """It is parsed as on the command line; what it does has tests of its own."""
    words = re.split(r"\s+", command.split("|")[0].replace("'", ""))[1:]
    context, found = click.Context(cli, info_name="qdchar"), cli
    verb: click.Command | None = found
    while isinstance(verb, click.Group) and words and not words[0].startswith("-"):
        verb = verb.get_command(context, words.pop(0))
        assert verb is not None, command
    assert verb is not None
    known = {option for p in verb.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
    given = {w.split("=")[0] for w in words if w.startswith("-")}
    assert given <= known, command


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _cells(name: str) -> str:
    cells = json.loads((DOCS / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
    assert all(not c.get("outputs") for c in cells)  # outputs would age
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize("name", sorted(f.name for f in (DOCS / "notebooks").glob("*.ipynb")))
def test_the_notebook_runs(own_folder: Path, name: str) -> None:
    if "characterise" in name and "QDCHAR_NOTEBOOKS" not in os.environ:
        pytest.skip("a whole calibration, about a minute: set QDCHAR_NOTEBOOKS=1 to run it")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _cells(name)],
        capture_output=True,
        text=True,
        check=False,
        cwd=own_folder,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    if "characterise" in name:
        assert "\nGO\n" in done.stdout
