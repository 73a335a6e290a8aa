"""``qdchar fit NAME FILE``: one analysis on a file, one module here for each."""

from __future__ import annotations

import importlib

import click

NAMES = (
    "cavity",
    "etalon",
    "hbt",
    "hbt-cw",
    "lifetime",
    "rabi",
    "reflectivity",
    "saturation",
)


class _Analyses(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"{__name__}.{name}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Analyses)
def fit() -> None:
    """Analyse one file: its quantities with uncertainties, and a drawing."""
