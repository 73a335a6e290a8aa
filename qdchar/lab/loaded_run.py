"""A run folder as an object for a notebook: one attribute a step, with tables and plots."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Estimate
from qdchar.files import PathLike, is_folder, is_there
from qdchar.fit import Curve, Result
from qdchar.history import SINGLE
from qdchar.html_tables import html_list, record_html, result_html
from qdchar.keyrate import KeyRate, predict, source_and_link
from qdchar.raw_data import Scan, read_scan
from qdchar.record import SourceRecord, load_record
from qdchar.tables import key_rate_table
from qdchar.verdict import Verdict

from .outcome import Outcome, load_outcome
from .run import Step, read_step

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TABLE1_COLUMNS = (
    *("quantity", "group", "words", "symbol", "value", "u", "unit"),
    *("paper", "paper_u", "origin", "method"),
)
"""Columns of `LoadedRun.table1`."""
_UNIT_OF_LABEL = re.compile(r"\(([^()]*)\)\s*$")


class LoadedStep:
    """One measurement of a run.

    Parameters
    ----------
    folder
        The run folder.
    step
        What it keeps of the measurement.

    Attributes
    ----------
    name, title
        Code name, as in ``qdchar measure NAME``, and what a person reads.
    """

    def __init__(self, folder: Path, step: Step) -> None:
        self._folder, self._step = folder, step
        self.name, self.title = step.name, step.title

    @property
    def result(self) -> Result:
        """What the analysis found: estimates, fits and problems."""
        return self._step.result

    @property
    def quantities(self) -> Mapping[str, Estimate]:
        """The quantities that it found, by name."""
        return {e.name: e for e in self.result.estimates}

    @property
    def problems(self) -> tuple[str, ...]:
        """Reasons why the quantities cannot be trusted; empty if there is none."""
        return self.result.problems

    @property
    def curves(self) -> tuple[Curve, ...]:
        """Data with their fits, ready to draw."""
        return tuple(curve for fit in self.result.fits for curve in fit.curves)

    @property
    def raw(self) -> tuple[Path, ...]:
        """Its raw files."""
        return tuple(self._folder / name for name in self._step.raw)

    @property
    def scans(self) -> Mapping[str, Scan]:
        """Its scans as they were measured, by the stem of their file; time tags left out."""
        return {file.stem: read_scan(file) for file in self.raw if file.suffix == ".csv"}

    def to_frame(self) -> pd.DataFrame:
        """Return the points with their fit as a table.

        Returns
        -------
        pandas.DataFrame
            One row per point: ``curve`` (the title of the data set), ``x``, ``y``, ``u_y``,
            ``fit``, and ``residual`` in units of its uncertainty. ``attrs["labels"]`` holds the
            labels of x and y with their units by title, ``attrs["units"]`` the units alone. Empty
            where nothing was fitted; see `raw_frame`.
        """
        import pandas as pd

        columns = ["curve", "x", "y", "u_y", "fit", "residual"]
        parts = [
            pd.DataFrame(
                {
                    "curve": curve.title,
                    "x": curve.x,
                    "y": curve.y,
                    "u_y": curve.u_y,
                    "fit": curve.model,
                    "residual": curve.residuals,
                }
            )
            for curve in self.curves
        ]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
        labels = {curve.title: (curve.x_label, curve.y_label) for curve in self.curves}
        frame.attrs["labels"] = labels
        frame.attrs["units"] = {title: tuple(map(_unit, both)) for title, both in labels.items()}
        return frame

    def raw_frame(self) -> pd.DataFrame:
        """Return its scans as they were measured as one table.

        Returns
        -------
        pandas.DataFrame
            One row per point: ``scan`` (the stem of the file), the scanned quantity with its unit
            in the name (``power_W``, ``voltage_V``), ``clicks_a``, ``clicks_b``, ``dwell_s``. Empty
            where only time tags were recorded: open those with `qdchar.tags.open_tags`.
        """
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "scan": stem,
                    scan.x_name: scan.x,
                    "clicks_a": scan.clicks[:, 0],
                    "clicks_b": scan.clicks[:, 1],
                    "dwell_s": scan.dwell_s,
                }
            )
            for stem, scan in self.scans.items()
        ]
        columns = ["scan", "clicks_a", "clicks_b", "dwell_s"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def plot(self, curve: int = 0, axes: Axes | None = None) -> Axes:
        """Draw one data set with its fit.

        Parameters
        ----------
        curve
            Which of `curves`.
        axes
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
            The axes with data and fit.

        Raises
        ------
        RecordError
            If the step has no such curve.
        """
        if not -len(self.curves) <= curve < len(self.curves):
            has = f"only {len(self.curves)}" if self.curves else "none"
            raise RecordError(
                f"{self.title}: there is no curve {curve} to plot: it has {has}; its quantities "
                "are in `quantities`, its scans in `raw_frame()`"
            )
        from qdchar.report.figures import plot

        return plot(self.curves[curve], axes, self.result.estimates)

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.title)}</b></p>{result_html(self.result)}"

    def __repr__(self) -> str:
        return f"<{self.name}: {', '.join(map(str, self.result.estimates)) or 'no quantities'}>"


def _unit(label: str) -> str:
    found = _UNIT_OF_LABEL.search(label)
    return found[1] if found else ""


class LoadedRun:
    """A run folder that was read; each measurement is an attribute of its name.

    Use `load_run`. ``run.rabi`` is the same as ``run["rabi"]``; where a measurement was made more
    than once, it is the last one, and `steps` has all.

    Parameters
    ----------
    folder
        The run folder.
    steps
        What it keeps of each measurement, in the order made.
    damaged
        Why a result cannot be read, one line each.

    Attributes
    ----------
    folder, steps, damaged
        As given.
    """

    def __init__(self, folder: Path, steps: Sequence[Step], damaged: Sequence[str] = ()) -> None:
        self.folder = folder
        self.steps = tuple(LoadedStep(folder, step) for step in steps)
        self.damaged = tuple(damaged)
        self._by_name = {step.name: step for step in self.steps}

    @cached_property
    def record(self) -> SourceRecord:
        """The source record, whatever speaks against it: see its `objections`.

        Raises
        ------
        RecordError
            If the run has none, or it is damaged.
        """
        return load_record(self.folder, accept=True)

    @cached_property
    def outcome(self) -> Outcome:
        """Record, link, recipe, key rate and verdict of a calibration.

        Raises
        ------
        RecordError
            If the folder is not that of a finished calibration.
        InconclusiveError
            If no key rate follows from the record.
        """
        if is_there(self.folder / SINGLE):
            raise RecordError(
                f"{self.folder}: holds single measurements: no key rate and no verdict were asked "
                "for; `quantities` has what was found"
            )
        return load_outcome(self.folder).unless_faulty()

    @property
    def key_rate(self) -> KeyRate:
        """The predicted key rate on the run's link; raises as `outcome` does."""
        return self.outcome.rate

    @property
    def verdict(self) -> Verdict:
        """The verdict; inconclusive if the folder was changed since.

        Raises
        ------
        RecordError
            If the folder is not that of a finished calibration.
        """
        try:
            return self.outcome.verdict
        except InconclusiveError:
            if self.record.verdict is None:
                raise
            return self.record.verdict

    @property
    def quantities(self) -> Mapping[str, Estimate]:
        """All quantities that the steps found, by name; the last one found where two did."""
        return {name: e for step in self.steps for name, e in step.quantities.items()}

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of all steps, each with the step's title."""
        return tuple(f"{step.title}: {p}" for step in self.steps for p in step.problems)

    def to_frame(self) -> pd.DataFrame:
        """Return all quantities as a table, see `qdchar.tables.estimates_table`."""
        from qdchar.tables import estimates_table

        return estimates_table(self.quantities.values())

    def table1(self) -> pd.DataFrame:
        """Return Table 1 of the paper beside what was measured or given.

        Returns
        -------
        pandas.DataFrame
            One row per quantity, with `TABLE1_COLUMNS`: value, standard uncertainty and those of
            the paper in `unit`, an SI unit; `paper_u` is 0 where the paper gives none.
        """
        import pandas as pd

        from qdchar.report.table1 import PUBLISHED, table

        _, link = source_and_link(self.record, self.outcome.link)
        given = link.estimates()
        rows = []
        for row in table(self.record, link):
            paper = PUBLISHED[row.name]
            e = given[row.name] if row.origin == "given" else self.record.estimate(row.name)
            rows.append(
                (
                    *(row.name, row.group, row.words, row.symbol, e.value, e.u, e.unit),
                    *(paper.value, paper.u, row.origin, row.method),
                )
            )
        return pd.DataFrame(rows, columns=list(TABLE1_COLUMNS)).set_index("quantity")

    def budget(self, quantity: str) -> pd.DataFrame:
        """Return the uncertainty budget of a quantity of the record.

        Parameters
        ----------
        quantity
            Its name, e.g. ``"g2_zero"``.

        Returns
        -------
        pandas.DataFrame
            As of `qdchar.report.budgets.BudgetTable.to_frame`.
        """
        from qdchar.report.budgets import Budgets

        return Budgets(self.record, self.outcome.recipe).table(quantity).to_frame()

    def key_rate_curve(self, loss_dB: Sequence[float] | None = None) -> pd.DataFrame:
        """Predict the key rate of the run's source over the loss of the channel.

        Parameters
        ----------
        loss_dB
            Losses of the channel [dB]; 0 to 30 dB by default.

        Returns
        -------
        pandas.DataFrame
            As of `qdchar.tables.key_rate_table`.
        """
        source, link = source_and_link(self.record, self.outcome.link)
        losses = np.linspace(0.0, 30.0, 61) if loss_dB is None else np.asarray(loss_dB)
        recipe = self.outcome.recipe
        return key_rate_table(
            predict(
                source,
                link,
                loss_dB=losses,
                protocol=recipe.protocol,
                accounting=recipe.accounting,
            )
        )

    def __getitem__(self, name: str) -> LoadedStep:
        if name not in self._by_name:
            raise KeyError(self._no_step(name))
        return self._by_name[name]

    def __getattr__(self, name: str) -> LoadedStep:
        steps = self.__dict__.get("_by_name", {})
        if name not in steps:
            raise AttributeError(self._no_step(name) if steps else name)
        step: LoadedStep = steps[name]
        return step

    def _no_step(self, name: str) -> str:
        return f"{self.folder.name} holds no {name!r}; it holds {', '.join(self._by_name)}"

    def __dir__(self) -> Iterator[str]:
        yield from super().__dir__()
        yield from self._by_name

    def _repr_html_(self) -> str:
        try:
            about = record_html(self.record)
        except RecordError as error:
            about = f"<p>{escape(str(error))}</p>" + html_list("Problems", self.problems)
        return about + html_list("Steps", (f"{s.name}: {s.title}" for s in self.steps))

    def __repr__(self) -> str:
        return f"<run {self.folder.name}: {', '.join(self._by_name) or 'no results'}>"


def load_run(folder: PathLike) -> LoadedRun:
    """Read a run folder, finished or not.

    Parameters
    ----------
    folder
        The run folder, e.g. of ``qdchar calibrate`` or ``qdchar measure``.

    Returns
    -------
    LoadedRun
        With one attribute a measurement. What cannot be read is in `damaged`, and a warning.

    Raises
    ------
    RecordError
        If the folder is no run folder.

    Examples
    --------
    >>> run = load_run("runs/2026-11-23T051207Z_QD7_calibrate_ab12cd")  # doctest: +SKIP
    >>> run.rabi.quantities["pi_power"]  # doctest: +SKIP
    >>> run.rabi.to_frame(), run.rabi.plot()  # doctest: +SKIP
    """
    path = Path(folder)
    if not is_folder(path / "results"):
        raise RecordError(f"{path}: not a run folder: it holds no folder results")
    steps, damaged = [], []
    for file in sorted((path / "results").glob("*.json*")):
        try:
            steps.append(read_step(file))
        except RecordError as error:
            damaged.append(str(error))
            warnings.warn(str(error), stacklevel=2)
    return LoadedRun(path, steps, damaged)
