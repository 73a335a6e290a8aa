"""A Sphinx extension that writes the pages which follow from the code, before the build reads them.

Commands come from click, keys from the pydantic models and their docstrings, quantities from their
definitions, measurements from their declarations. Nothing in ``docs/generated`` is written by hand.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from qdchar import quantities
from qdchar.certificates import ASSUMED, CERTIFICATES
from qdchar.cli import VERBS, cli
from qdchar.documented import key_texts, summary
from qdchar.errors import QdcharError
from qdchar.lab.first_files import toml_value
from qdchar.lab.measurement import Measurement
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import SHIPPED, Recipe
from qdchar.lab.simulated_station import ROLE_WORDS
from qdchar.lab.station_file import (
    Certificate,
    InstrumentTable,
    RoleTable,
    SimulatedLabTable,
    StationFile,
)
from qdchar.link import Link
from qdchar.quantities import quantity
from qdchar.roles import ROLES
from qdchar.verdict import EXIT_CODES

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"

LIBRARY = {
    "First": [
        "qdchar.lab.loaded_run",
        "qdchar.lab.single_measurement",
        "qdchar.lab.simulated_station",
        "qdchar.lab.simulated",
    ],
    "Numbers": [
        "qdchar.estimate",
        "qdchar.fit",
        "qdchar.quantity",
        "qdchar.quantities",
        "qdchar.certificates",
        "qdchar.notation",
        "qdchar.tables",
    ],
    "Records and links": [
        "qdchar.record",
        "qdchar.link",
        "qdchar.verdict",
        "qdchar.history",
        "qdchar.raw_data",
        "qdchar.errors",
    ],
    "Key rates": [
        "qdchar.keyrate.predict",
        "qdchar.keyrate.source",
        "qdchar.keyrate.result",
        "qdchar.keyrate.over_time",
        "qdchar.keyrate.photon_statistics",
        "qdchar.keyrate.measured.file",
        "qdchar.keyrate.measured.key",
    ],
    "Time tags": ["qdchar.tags", "qdchar.tags.files", "qdchar.tags.source", "qdchar.tags.convert"],
    "The lab": [
        "qdchar.lab.station",
        "qdchar.lab.session",
        "qdchar.lab.run",
        "qdchar.lab.recipe",
        "qdchar.lab.measurement",
        "qdchar.lab.calibrate",
        "qdchar.roles",
    ],
}
"""Modules of the library reference; those of analysis, protocols and drivers follow."""


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx call `generate` before it reads the sources."""
    app.connect("builder-inited", lambda app: generate(Path(app.srcdir) / "generated"))
    return {"parallel_read_safe": True}


def generate(folder: Path) -> None:
    """Write all generated pages to a folder."""
    folder.mkdir(exist_ok=True)
    pages = {
        "commands.md": _commands(),
        "station-keys.md": _station_keys(),
        "recipe-keys.md": _recipe_keys(),
        "link-keys.md": _link_keys(),
        "quantities.md": _quantities(),
        "measurements.md": _measurements(),
        "library.md": _library(),
        "gallery.md": _gallery(),
    }
    for notebook in sorted((DOCS / "notebooks").glob("*.ipynb")):
        pages[f"{notebook.stem}.md"] = _notebook(notebook)
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def _commands() -> str:
    context = click.Context(cli, info_name="qdchar")
    lines = [
        "# Commands",
        "",
        "Each takes `--json`: its result is the last line of its output.",
        "",
    ]
    lines += ["| exit code | meaning |", "|---|---|"]
    lines += [f"| {code} | {_cell(text)} |" for code, text in exit_codes().items()]
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        lines += _command(command, click.Context(command, context, info_name=verb), 2)
    return "\n".join(lines) + "\n"


def exit_codes() -> dict[int, str]:
    """Return what each exit code means: the verdicts, and the first line of each error class."""
    codes = {0: "GO, or done", **{code: f"verdict {v}" for v, code in EXIT_CODES.items() if code}}
    pending = list(QdcharError.__subclasses__())
    while pending:
        kind = pending.pop(0)
        pending += kind.__subclasses__()
        code = kind.exit_code
        text = summary(kind)
        if code not in codes or codes[code].startswith("verdict"):
            codes[code] = f"{codes[code]}; {text}" if code in codes else text
    ended = {129: "SIGHUP", 130: "Ctrl-C", 131: "SIGQUIT", 143: "SIGTERM"}
    codes |= {code: f"ended by {name}" for code, name in ended.items()}
    return dict(sorted(codes.items()))


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("", f"{'#' * level} {context.command_path}", "")
    yield from ("```", f"{context.command_path} {usage}", "```", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from (_text(" ".join(paragraph.split())), "")
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        yield from ("| option | meaning | default |", "|---|---|---|")
    for option in options:
        record = option.get_help_record(context)
        assert record is not None
        names, text = record
        text = re.sub(r"\s*\[default: .*?\]|\s*\[required\]", "", text)
        given = option.default
        shown = f"`{given}`" if option.show_default and given is not None else ""
        shown = "required" if option.required else shown
        yield f"| `{_cell(names)}` | {_cell(text)} | {shown} |"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, context, info_name=name), level + 1)


def _keys(kind: Any, skip: Iterable[str] = ()) -> Iterator[str]:
    """Yield a table of the keys of a pydantic model."""
    texts = key_texts(kind)
    yield from ("| key | meaning | default | allowed |", "|---|---|---|---|")
    for name, field in kind.model_fields.items():
        if name in skip:
            continue
        text = texts.get(name) or quantity(name).definition
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else f"`{_default(default)}`"
        shown = "" if not field.is_required() and default is None else shown
        yield f"| `{name}` | {_cell(text)} | {shown} | {_allowed(field)} |"


def _default(value: Any) -> str:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
        value = value["value"] if value.get("u") == 0.0 else value
    return toml_value(value)


def _allowed(field: Any) -> str:
    signs = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    found = [
        f"{signs[sign]} {getattr(bound, sign):g}"
        for bound in field.metadata
        for sign in signs
        if getattr(bound, sign, None) is not None
    ]
    choices = re.search(r"Literal\[([^]]*)\]", str(field.annotation))
    if choices:
        found.append(", ".join(f"`{c.strip()[1:-1]}`" for c in choices[1].split(",")))
    return "; ".join(found)


def _station_keys() -> str:
    lines = ["# Station file", "", _text(summary(StationFile)), "", *_keys(StationFile), ""]
    for title, kind in (
        ("`[calibrations.NAME]`", Certificate),
        ("`[simulated_lab]`", SimulatedLabTable),
        ("`[links.NAME]`", InstrumentTable),
        ("`[roles.NAME]`", RoleTable),
    ):
        lines += [f"## {title}", "", _text(summary(kind)), "", *_keys(kind), ""]
    lines += ["## Certificates", "", "| name | unit | meaning | without it |", "|---|---|---|---|"]
    for c in CERTIFICATES:
        assumed = ASSUMED.get(c.name)
        without = (
            f"{assumed.value:g}, u = {assumed.u:g}: {assumed.why}"
            if assumed
            else "what needs it is not measured"
        )
        lines.append(f"| `{c.name}` | {c.unit} | {_cell(c.definition)} | {_cell(without)} |")
    lines += [
        "",
        "`detector_efficiency`, and each name that a lab adds, is one, too.",
        "",
    ]
    lines += ["## Roles", "", "| role | what for | methods: `qdchar.roles` |", "|---|---|---|"]
    lines += [f"| `{r}` | {_cell(ROLE_WORDS[r])} | `{k.__name__}` |" for r, k in ROLES.items()]
    lines += ["", "## Drivers", ""]
    for module in _modules("qdchar.drivers", skip=("tag_server",)):
        for name, kind in vars(importlib.import_module(module)).items():
            own = inspect.isclass(kind) and kind.__module__ == module and not name.startswith("_")
            if own and (hasattr(kind, "identify") or hasattr(kind, "open")):
                keys = list(inspect.signature(kind).parameters)[1:]
                taken = ", ".join(f"`{k}`" for k in keys) or "none"
                lines += [f"`{module}:{name}`", f": {_text(summary(kind))} Keys: {taken}.", ""]
    return "\n".join(_definition_lists(lines)) + "\n"


def _definition_lists(lines: Iterable[str]) -> Iterator[str]:
    """Write ``term`` and ``: text`` as a list, which needs no extension."""
    pending = ""
    for line in lines:
        if line.startswith("`qdchar.drivers") and ":" in line:
            pending = line
        elif pending:
            yield f"- {pending}{line}"
            pending = ""
        else:
            yield line


def _recipe_keys() -> str:
    names = ", ".join(f"`{n}`" for n in SHIPPED)
    lines = ["# Recipe file", "", _text(summary(Recipe)), "", f"Shipped recipes: {names}.", ""]
    lines += _keys(Recipe, skip=["tables"])
    for measurement in {m.table: m for m in MEASUREMENTS.values()}.values():
        kind: Any = measurement.settings
        if kind.model_fields:
            lines += ["", f"## `[{measurement.table}]`", "", _text(summary(kind)), "", *_keys(kind)]
    return "\n".join(lines) + "\n"


def _link_keys() -> str:
    text = "A constant is a number, or a table `{ value = 14.6, u = 0.3 }`."
    head = ["# Link file", "", _text(summary(Link)), "", text, ""]
    return "\n".join([*head, *_keys(Link)]) + "\n"


def _provided() -> dict[str, list[Measurement[Any]]]:
    found: dict[str, list[Measurement[Any]]] = {}
    for measurement in MEASUREMENTS.values():
        for name in measurement.quantities:
            found.setdefault(name, []).append(measurement)
    return found


def _quantities() -> str:
    provided = _provided()
    lines = [
        "# Quantities",
        "",
        "Meaning, unit and symbol are the same in the report, in JSON and in the library. How each",
        "is measured, how its uncertainty is made and what can go wrong stands under the",
        "measurement that it comes from; `qdchar budget RUN NAME` prints what its uncertainty is",
        "made of in one run ([budgets](../budgets.md)).",
        "",
        "| quantity | symbol | name | unit | meaning | from |",
        "|---|---|---|---|---|---|",
    ]
    for name in quantities.BUILT_IN:
        q = quantity(name)
        within = _within(q.low, q.high)
        sources = ", ".join(f"[{m.name}](measurements.md#{m.name})" for m in provided.get(name, []))
        if not sources:
            certified = any(c.name == name for c in CERTIFICATES)
            in_link = name in Link.model_fields
            sources = "certificate" if certified else "link file" if in_link else "analysis"
        text = _cell(q.definition) + within
        lines.append(
            f"| {_cell(q.words)} | {_cell(q.symbol)} | `{name}` | {q.unit} | {text} | {sources} |"
        )
    return "\n".join(lines) + "\n"


def _within(low: float, high: float) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"; from {low:g} to {high:g}"
    return f"; at least {low:g}" if math.isfinite(low) else ""


def notes() -> dict[str, str]:
    """Return the notes on the measurements, by name."""
    text = (DOCS / "measurement-notes.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (\w+)\n", text, flags=re.M)
    return {n: t.strip() for n, t in zip(parts[1::2], parts[2::2], strict=True)}


def _measurements() -> str:
    lines = [
        "# Measurements",
        "",
        "What each moves, finds and rests on. Counting noise is type A, a certificate is type B;",
        "the same certificate is the same error in all quantities. [What a calibration checks",
        "while it runs](../plausibility.md) finds the usual faults of a lab.",
    ]
    said = notes()
    for name, m in MEASUREMENTS.items():
        asked = {"always": "every calibration", "if possible": "a calibration that can"}
        when = asked.get(m.calibration, "`qdchar measure` alone")
        lines += ["", f"({name})=", f"## {name}", "", f"*{_text(m.title)}*; made by {when}.", ""]
        lines += [_text(" ".join(p.split())) + "\n" for p in _protocol_text(m)]
        found = (f"{_text(quantity(q).words)} (`{q}`)" for q in m.quantities)
        lines += [f"- finds: {', '.join(found)}"]
        rows = {
            "needs": m.all_needs,
            "instruments": m.all_roles,
            "certificates": m.all_certificates,
            "certificates with a default": m.all_optional_certificates,
        }
        lines += [f"- {k}: {', '.join(f'`{n}`' for n in v)}" for k, v in rows.items() if v]
        if m.settings.model_fields:
            lines.append(f"- settings: [`[{m.table}]`](recipe-keys.md)")
        lines += ["", said[name]]
    return "\n".join(lines) + "\n"


def _protocol_text(measurement: Measurement[Any]) -> list[str]:
    module = measurement.settings.__module__
    if not module.startswith("qdchar.protocols"):
        return []
    return inspect.cleandoc(importlib.import_module(module).__doc__ or "").split("\n\n")[1:]


def _modules(package: str, skip: Iterable[str] = ()) -> list[str]:
    path = importlib.import_module(package).__path__
    names = sorted(m.name for m in pkgutil.iter_modules(path))
    left_out = {"statistics", "detection", "models", "twin", *skip}
    return [f"{package}.{n}" for n in names if not n.startswith("_") and n not in left_out]


def library_modules() -> dict[str, list[str]]:
    """Return the modules of the library reference by heading."""
    return LIBRARY | {
        "Analyses": _modules("qdchar.analysis"),
        "Protocols": _modules("qdchar.protocols"),
        "Drivers": _modules("qdchar.drivers"),
    }


def _library() -> str:
    import qdchar

    lines = [
        "# Library",
        "",
        "`import qdchar` has at hand, each documented in its module:",
        "",
    ]
    lines += [", ".join(f"`{n}`" for n in qdchar.__all__ if not n.startswith("_")) + ".", ""]
    for heading, modules in library_modules().items():
        lines += [f"## {heading}", ""]
        for module in modules:
            lines += [f"### {module}", "", "```{eval-rst}", f".. automodule:: {module}", "```", ""]
    return "\n".join(lines) + "\n"


def _gallery() -> str:
    lines = ["# Examples", "", "Each answers one question, and runs as it stands.", ""]
    for file in sorted(EXAMPLES.glob("*.py")):
        code = file.read_text(encoding="utf-8")
        title, _, rest = code.partition('"""')[2].partition('"""')
        head, _, more = title.partition("\n")
        lines += [f"## {_text(head)}", ""]
        if more.strip():
            lines += [_text(" ".join(more.split())), ""]
        lines += [f"`examples/{file.name}`", "", "```python", rest.strip(), "```", ""]
    return "\n".join(lines) + "\n"


def _notebook(file: Path) -> str:
    """Write the cells of a notebook; `tests/test_handbook.py` runs them."""
    lines: list[str] = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        lines += [text, ""] if cell["cell_type"] == "markdown" else ["```python", text, "```", ""]
    lines += [f"As a notebook: `docs/notebooks/{file.name}`"]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Escape what Markdown would read as HTML or emphasis, outside of code."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(
        p if k % 2 else re.sub(r"([<>*_$\[\]])", r"\\\1", p) for k, p in enumerate(parts)
    )


def _cell(text: str) -> str:
    return _text(" ".join(text.split())).replace("|", r"\|")
