"""The report of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdchar.files import PathLike, write_text
from qdchar.keyrate import predict, source_and_link
from qdchar.keyrate.crossing import maximum_loss
from qdchar.lab.outcome import Outcome, load_outcome
from qdchar.lab.run import read_steps

from . import wording
from .budgets import Budgets
from .cards import budgets_without_card, cards
from .figures import draw_key_rate, embedded
from .headline import headline
from .last_run import last_run
from .provenance import provenance_of
from .table1 import provenance, table

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_LOSSES_DB = np.linspace(0.0, 30.0, 61)


def write_report(folder: PathLike, outcome: Outcome | None = None) -> Path:
    """Write ``report.html`` of a run from what its folder holds.

    Key rate and verdict are the run's own; the curve over loss is predicted from the same source
    and link.

    Parameters
    ----------
    folder
        The run folder.
    outcome
        What `load_outcome` gives, where it is known already. Without it, a run that was changed
        is inconclusive on its page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RecordError
        If the folder is not that of a finished calibration.
    """
    folder = Path(folder)
    if outcome is None:
        outcome = load_outcome(folder).unless_faulty()
    steps = read_steps(folder)
    record, recipe, here = outcome.record, outcome.recipe, outcome.rate
    source, link = source_and_link(record, outcome.link)
    points = predict(
        source,
        link,
        loss_dB=_LOSSES_DB,
        protocol=recipe.protocol,
        accounting=recipe.accounting,
    )
    reach = maximum_loss(source, link, protocol=recipe.protocol, accounting=recipe.accounting)
    budgets = {t.estimate.name: t for t in Budgets(record, recipe).tables()}
    page = template("report.html.j2").render(
        simulated=record.simulated,
        record=record,
        folder=folder.resolve().name,
        verdict=outcome.verdict,
        demands=outcome.verdict.demands,
        faults=outcome.faults,
        own=outcome.own,
        rate=here,
        head=headline(outcome, source),
        groups=[(g, list(rows)) for g, rows in groupby(table(record, link), lambda r: r.group)],
        last=last_run(folder, record),
        taken_over=provenance(record),
        assumptions=outcome.assumptions,
        key_rate_image=embedded(draw_key_rate(points, here, reach)),
        cards=cards(steps, recipe, budgets, tuple(recipe.limits)),
        derived=budgets_without_card(steps, budgets),
        provenance=provenance_of(folder),
    )
    file = folder / "report.html"
    write_text(file, page)
    return file


def style() -> str:
    """Return the style that all pages share."""
    return _text("style.css")


def template(name: str) -> Template:
    """Return one of the templates beside this file."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_text)
    )
    environment.globals.update(
        words=wording.words,
        sentence=wording.sentence,
        powers=wording.powers,
        symbol=wording.symbol,
        protocol=wording.protocol,
    )
    return environment


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
