"""Cards of a page: one for each measurement, with its plots, quantities, budgets and methods."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qdchar.estimate import Estimate
from qdchar.fit import Fit
from qdchar.lab.measurement import Measurement, Registry
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Step
from qdchar.notation import number_text
from qdchar.quantities import quantity

from . import wording
from .budgets import BudgetTable, sensitivity_text, some_of, u_text
from .figures import draw_curve, embedded
from .table1 import PUBLISHED

_SHOWN = 3
"""Quantities of a measurement that are shown at least, besides those of Table 1 and demands."""

_MANY_PLOTS = 2
"""Plots of a card that are shown; more of them are folded."""

_EXCESS = 1.5
"""Scatter over counting noise from which on a sentence about it stands beside the plot."""


@dataclass(frozen=True)
class QuantityOnPage:
    """One quantity, as text."""

    name: str
    words: str
    symbol: Markup
    value: str
    band: str
    definition: str
    plane: str
    method: str


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
    symbol: Markup
    value: str
    lines: tuple[tuple[str, str, str, str, str, str, str], ...]
    hidden: str
    way: str


@dataclass(frozen=True)
class Card:
    """One measurement as a page shows it.

    Attributes
    ----------
    anchor, title
        Its place in the page, and what a person reads.
    asked
        What was measured, in a sentence, and the settings of the recipe.
    images, more_images
        Plots that are shown, and those that are folded.
    quantities, more_quantities
        Those that are shown, and those that are folded.
    goodness
        How well the fits describe the data, in sentences.
    notes
        Those of these sentences that have to be read beside the plot.
    about
        When it was measured, or from which run it was taken.
    """

    anchor: str
    title: str
    asked: str
    settings: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    images: tuple[str, ...]
    more_images: tuple[str, ...]
    quantities: tuple[QuantityOnPage, ...]
    more_quantities: tuple[QuantityOnPage, ...]
    budgets: tuple[BudgetOnPage, ...]
    goodness: tuple[str, ...]
    notes: tuple[str, ...]
    raw: tuple[str, ...]
    about: str


def cards(
    steps: Sequence[Step],
    recipe: Recipe | None = None,
    budgets: Mapping[str, BudgetTable] | None = None,
    demanded: Sequence[str] = (),
    registry: Registry = MEASUREMENTS,
) -> tuple[Card, ...]:
    """Prepare the steps of a run for a page.

    Parameters
    ----------
    recipe
        Of the run, for the settings; none for none.
    budgets
        Budgets of the record by quantity. Each stands in the card of the measurement that found
        the record's value.
    demanded
        Quantities that the recipe has limits for: they are shown, not folded.
    """
    left = dict(budgets or {})
    made = []
    for step in reversed(steps):  # a quantity that was found twice has the later value
        own = [left.pop(e.name) for e in step.result.estimates if e.name in left]
        made.append(_card(step, recipe, own, demanded, registry.get(step.name)))
    return tuple(reversed(made))


def budgets_without_card(
    steps: Sequence[Step], budgets: Mapping[str, BudgetTable]
) -> tuple[BudgetOnPage, ...]:
    """Return the budgets of quantities that no measurement found: they were computed of others."""
    found = {e.name for step in steps for e in step.result.estimates}
    return tuple(_budget(table) for name, table in budgets.items() if name not in found)


def _card(
    step: Step,
    recipe: Recipe | None,
    budgets: Sequence[BudgetTable],
    demanded: Sequence[str],
    measurement: Measurement[Any] | None,
) -> Card:
    images = [
        embedded(draw_curve(c, step.result.estimates))
        for fit in step.result.fits
        for c in fit.curves
    ]
    estimates = step.result.estimates
    first = [e for e in estimates if e.name in PUBLISHED or e.name in demanded]
    first += [e for e in estimates if e not in first][: max(0, _SHOWN - len(first))]
    notes = [_excess(fit) for fit in step.result.fits if _scatter(fit) > _EXCESS]
    return Card(
        anchor=f"measurement-{step.name}",
        title=wording.words(step.title),
        asked=_asked(measurement),
        settings=_settings(measurement, recipe),
        problems=tuple(map(wording.words, step.result.problems)),
        images=tuple(images[:_MANY_PLOTS]),
        more_images=tuple(images[_MANY_PLOTS:]),
        quantities=tuple(quantity_on_page(e) for e in estimates if e in first),
        more_quantities=tuple(quantity_on_page(e) for e in estimates if e not in first),
        budgets=tuple(map(_budget, budgets)),
        goodness=tuple(_goodness(fit) for fit in step.result.fits if fit.dof > 0),
        notes=tuple(dict.fromkeys(notes)),
        raw=step.raw,
        about=_about(step),
    )


def quantity_on_page(e: Estimate) -> QuantityOnPage:
    """Prepare one estimate for a page."""
    return QuantityOnPage(
        name=e.name,
        words=wording.words(e.quantity.words),
        symbol=wording.symbol(e.quantity.symbol),
        value=wording.value(e),
        band=wording.band(e),
        definition=wording.words(e.definition),
        plane=e.plane,
        method=wording.words(e.method),
    )


def _asked(measurement: Measurement[Any] | None) -> str:
    """Say what a measurement does: the first sentence of the file that declares it."""
    if measurement is None:
        return ""
    module = inspect.getmodule(measurement.run)
    documented = inspect.getdoc(module) if module is not None else None
    sentence = (documented or "").split("\n\n")[0].replace("\n", " ")
    what = sentence.partition(": ")[2] or sentence
    return wording.sentence(what)


def _settings(
    measurement: Measurement[Any] | None, recipe: Recipe | None
) -> tuple[tuple[str, str], ...]:
    """Return the settings of a measurement by their names in the recipe."""
    if measurement is None or recipe is None:
        return ()
    settings = recipe.settings_of(measurement).model_dump()
    return tuple((name, _setting(name, value)) for name, value in settings.items())


def _setting(name: str, value: object) -> str:
    unit = name.rpartition("_")[2]
    if isinstance(value, float) and unit in ("s", "V", "W", "Hz", "dB", "m"):
        return number_text(value, unit)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scatter(fit: Fit) -> float:
    """Return by what factor the data scatter more than their uncertainties say."""
    return math.sqrt(fit.minimum / fit.dof) if fit.dof > 0 else 0.0


def _goodness(fit: Fit) -> str:
    of = "chi-square" if fit.statistic == "chi2" else fit.statistic
    return (
        f"{fit.model}: the data scatter {_scatter(fit):.2f} times as much as their uncertainties "
        f"say; 1 is expected ({of} {fit.minimum:.4g} for {fit.dof} degrees of freedom)"
    )


def _excess(fit: Fit) -> str:
    """Say what a scatter beyond counting noise means."""
    factor = f"{_scatter(fit):.2g} times their counting noise"
    if fit.model.startswith("mean over"):
        return (
            f"The points differ from one another by {factor}: the value is their mean, not a fit."
        )
    return (
        f"The points scatter by {factor} around the line. Whether that can be accepted was "
        "decided by the measurement; it would stand above as a problem."
    )


def _about(step: Step) -> str:
    when = "" if step.measured is None else f"measured {step.measured:%Y-%m-%d %H:%M:%S} UTC"
    if step.taken_from:
        return f"taken over from the run {step.taken_from}{when and ', ' + when}"
    return when


def _budget(budget: BudgetTable) -> BudgetOnPage:
    """Prepare one budget for a page."""
    e = budget.estimate
    return BudgetOnPage(
        title=wording.words(e.quantity.words),
        symbol=wording.symbol(e.quantity.symbol),
        value=wording.value(e),
        lines=tuple(
            (
                row.source,
                row.kind,
                wording.powers(u_text(row.u, e.unit)),
                f"{100.0 * row.share:.1f} %",
                wording.powers(sensitivity_text(row)),
                ", ".join(shared := [quantity(name).words for name in row.correlated_with]),
                some_of(shared),
            )
            for row in budget.shown
        ),
        hidden=budget.hidden_text if e.u > 0 else "",
        way=wording.powers(_best_way(budget)),
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
