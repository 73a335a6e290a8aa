"""The report of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdchar.estimate import Estimate
from qdchar.files import PathLike, read_json, write_text
from qdchar.keyrate import predict, source_and_link
from qdchar.keyrate.comparators import COMPARATORS
from qdchar.lab.outcome import Outcome, load_outcome
from qdchar.lab.run import Step, read_steps
from qdchar.notation import concise, interval_text, text
from qdchar.quantities import quantity

from .budgets import Budgets, BudgetTable, sensitivity_text, some_of, u_text
from .figures import draw_curve, draw_key_rate, embedded
from .table1 import provenance, table

if TYPE_CHECKING:
    from jinja2 import Template

_LOSSES_DB = np.linspace(0.0, 30.0, 61)


@dataclass(frozen=True)
class StepOnPage:
    """One step as the page shows it."""

    title: str
    images: tuple[str, ...]
    estimates: tuple[tuple[str, str, str, str], ...]
    goodness: tuple[str, ...]
    problems: tuple[str, ...]
    raw: tuple[str, ...]


@dataclass(frozen=True)
class BudgetOnPage:
    """The budget of one quantity as the page shows it.

    Attributes
    ----------
    lines
        Source, type, contribution, share, sensitivity, all that is correlated through it, and some
        of that.
    hidden
        How many lines are too small to be shown.
    way
        What would reduce the uncertainty most.
    """

    title: str
    value: str
    lines: tuple[tuple[str, str, str, str, str, str, str], ...]
    hidden: str
    way: str


def write_report(folder: PathLike, outcome: Outcome | None = None) -> Path:
    """Write ``report.html`` of a run from what its folder holds.

    Key rate and verdict are the run's own; the curve over loss is predicted from the same source
    and link.

    Parameters
    ----------
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
    page = template("report.html.j2").render(
        record=record,
        folder=folder.name,
        verdict=outcome.verdict,
        faults=outcome.faults,
        own=outcome.own,
        rows=table(record, link),
        provenance=provenance(record),
        rate=here,
        rate_text=concise(here.rate_per_pulse, here.rate_per_pulse_u),
        kbps_text=concise(here.rate_bps / 1e3, here.rate_bps_u / 1e3),
        assumptions=outcome.assumptions,
        comparators=COMPARATORS,
        key_rate_image=embedded(draw_key_rate(points, here)),
        steps=[step_on_page(step) for step in steps],
        budgets=[_budget_on_page(t) for t in Budgets(record, recipe).tables()],
        snapshot=read_json(folder / "snapshot_after.json"),
    )
    file = folder / "report.html"
    write_text(file, page)
    return file


def template(name: str) -> Template:
    """Return one of the templates beside this file."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return files(__package__).joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(load)
    )
    return environment.get_template(name)


def step_on_page(step: Step) -> StepOnPage:
    """Prepare one step for a page."""
    curves = [curve for fit in step.result.fits for curve in fit.curves]
    return StepOnPage(
        title=step.title,
        images=tuple(embedded(draw_curve(curve)) for curve in curves),
        estimates=tuple(_line(e) for e in step.result.estimates),
        goodness=tuple(
            f"{fit.model}: {fit.statistic} {fit.minimum:.1f} for {fit.dof} degrees of freedom"
            for fit in step.result.fits
            if fit.dof > 0
        ),
        problems=step.result.problems,
        raw=step.raw,
    )


def _line(e: Estimate) -> tuple[str, str, str, str]:
    interval = "" if e.interval_95 is None else interval_text(e, e.interval_95)
    return e.quantity.words, text(e), interval, f"{e.name}: {e.definition}; {e.method}"


def _budget_on_page(budget: BudgetTable) -> BudgetOnPage:
    """Prepare one budget for a page."""
    e = budget.estimate
    return BudgetOnPage(
        title=f"{e.quantity.words}, {e.quantity.symbol}",
        value=text(e),
        lines=tuple(
            (
                row.source,
                row.kind,
                u_text(row.u, e.unit),
                f"{100.0 * row.share:.1f} %",
                sensitivity_text(row),
                ", ".join(words := [quantity(name).words for name in row.correlated_with]),
                some_of(words),
            )
            for row in budget.shown
        ),
        hidden=budget.hidden_text if e.u > 0 else "",
        way=_best_way(budget),
    )


def _best_way(budget: BudgetTable) -> str:
    """Say what would reduce the uncertainty most; empty if there is none."""
    if not budget.reductions:
        return ""
    way, unit = budget.reductions[0], budget.estimate.unit
    return (
        f"Most would be gained by {way.how}: u = {u_text(way.u_if_halved, unit)} with half of that "
        f"contribution, {u_text(way.u_if_zero, unit)} without it."
    )
