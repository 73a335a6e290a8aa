"""The first files of a lab: commented station, recipe and link, which run as they are."""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

from qdchar.documented import key_texts, summary
from qdchar.link import Link
from qdchar.quantities import is_known, quantity

from .measurements.registry import MEASUREMENTS
from .recipe import Recipe
from .simulated_station import simulated_station_text

_LINE = 98

_RECIPE_HEAD = """\
The recipe: how each measurement is made, and what a GO demands. Lines that begin with "#" show
keys that may be given, with what is taken without them. This is the recipe `{name}` of qdchar.

A GO demands a key rate above `min_rate_per_pulse` by two standard uncertainties. Limits of
quantities and of the advantage over laser light are added like this:
    min_advantage_dB = {{ wcp-one-decoy-three-state = 3.0 }}
    limits.g2_zero.max = 0.01"""

_LINK_HEAD = """\
The link: channel, receiver and security constants; everything about a key rate that is not the
source. SI units, losses in dB. A constant is a number, or a table with its standard uncertainty:
    detector_efficiency = {{ value = 0.712, u = 0.010 }}
All values here are those of Zhang et al., PRL 134, 210801 (2025), which hold without a link file,
too. Keys with a "#" are less often changed."""

_SELDOM = ("channel_parts", "security", "epsilon", "detector_dark_shares", "block_kind")


def first_files(recipe: str = "quick", seed: int = 1) -> dict[str, str]:
    """Return the texts of the first files of a lab, by file name.

    Parameters
    ----------
    recipe
        Name of the shipped recipe that is written out.
    seed
        Of the simulated lab that the station file is for.
    """
    return {
        "station.toml": simulated_station_text(seed),
        "recipe.toml": recipe_text(recipe),
        "link.toml": link_text(),
    }


def recipe_text(name: str) -> str:
    """Write a shipped recipe out: every key with its text, those of the recipe as they are."""
    shipped = (resources.files(__package__) / "recipes" / f"{name}.toml").read_text("utf-8")
    given = tomllib.loads(shipped)
    lines = list(_comment(_RECIPE_HEAD.format(name=name)))
    texts = key_texts(Recipe)
    for key, field in Recipe.model_fields.items():
        if key == "tables":
            continue
        default = field.get_default(call_default_factory=True)
        lines += ["", *_comment(texts.get(key, ""))]
        lines.append(_line(key, given.get(key, default), active=key in given))
    for measurement in {m.table: m for m in MEASUREMENTS.values()}.values():
        kind, table = measurement.settings, given.get(measurement.table, {})
        if not kind.model_fields:
            continue
        lines += ["", *_comment(f"{measurement.title}: {summary(kind)}"), f"[{measurement.table}]"]
        texts, told = key_texts(kind), ""
        for key, field in kind.model_fields.items():
            if texts.get(key, "") != told:  # keys that belong together have one text
                told = texts.get(key, "")
                lines += _comment(told)
            default = field.get_default(call_default_factory=True)
            lines.append(_line(key, table.get(key, default), active=key in table))
    return "\n".join(lines) + "\n"


def link_text() -> str:
    """Write the link of Zhang et al. out, every key with its text."""
    lines, told = list(_comment(_LINK_HEAD.format())), ""
    texts = key_texts(Link)
    for key, value in Link().model_dump(mode="json").items():
        text = texts.get(key) or (quantity(key).definition if is_known(key) else "")
        if text != told:
            told = text
            lines += ["", *_comment(text)]
        plain = value["value"] if isinstance(value, dict) and value.get("u") == 0.0 else value
        lines.append(_line(key, plain, active=not key.startswith(_SELDOM)))
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, *, active: bool) -> str:
    if value is None:
        return f"# {key} ="
    return f"{'' if active else '# '}{key} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, dict):
        inner = ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
        for line in textwrap.wrap(paragraph, _LINE, subsequent_indent=indent) or [""]:
            yield f"# {line}".rstrip()
