"""The outcome of a calibration: record, key rate and verdict, as its run folder keeps them.

The calibration predicts the key rate and makes the verdict, once; the record holds both.
`verdict.json` holds the hashes of the files that they were made from. Who reads the folder later
shows this rate and this verdict. Where a file has changed since, that is said in their place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from qdchar.errors import InconclusiveError, RecordError
from qdchar.files import PathLike, is_there
from qdchar.keyrate import KeyRate, predict, source_and_link
from qdchar.keyrate.no_key import why_no_key
from qdchar.link import Link
from qdchar.record import SourceRecord, load_record
from qdchar.record_checks import Objection
from qdchar.verdict import Verdict

from .integrity import hashes, read_key_rate, run_faults
from .recipe import Recipe
from .run import Run, read_kept
from .verdict import judge

_PREDICTION = ("record.json", "keyrate.json", "verdict.json")
"""Where one of them has changed, it is not known what the run's own rate and verdict were."""


@dataclass(frozen=True)
class Outcome:
    """Record, key rate and verdict of a run.

    Attributes
    ----------
    record, recipe
        As the run keeps them.
    rate, verdict
        The predicted key rate, and what was decided.
    link
        As in the link file; a misalignment that the record holds is not in it.
    faults
        What speaks against the run folder: files that have changed since the verdict was made,
        contradictions.
    own
        Whether rate and verdict are the run's own; if not, they were computed from the files as
        they are.
    """

    record: SourceRecord
    link: Link
    recipe: Recipe
    rate: KeyRate
    verdict: Verdict
    faults: tuple[Objection, ...] = ()
    own: bool = True

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the key rate takes for granted, and what stands for missing certificates."""
        return tuple(dict.fromkeys((*self.rate.assumptions, *self.record.assumptions)))

    def unless_faulty(self) -> Outcome:
        """Return the outcome with the verdict that a run with faults has: inconclusive."""
        if not self.faults:
            return self
        whose = "the run's own verdict was" if self.own else "computed from the files as they are:"
        reasons = (*map(str, self.faults), f"{whose} {self.verdict.decision}")
        return replace(
            self, verdict=replace(self.verdict, decision="INCONCLUSIVE", reasons=reasons)
        )


def predict_and_judge(record: SourceRecord, link: Link, recipe: Recipe) -> tuple[KeyRate, Verdict]:
    """Predict the key rate of a record on a link, and judge both."""
    source, measured_link = source_and_link(record, link)
    (rate,) = predict(source, measured_link, protocol=recipe.protocol, accounting=recipe.accounting)
    zero = why_no_key(rate, source, measured_link) if rate.rate_per_pulse == 0 else None
    return rate, judge(record, rate, recipe, zero)


def conclude(run: Run, record: SourceRecord, link: Link, recipe: Recipe) -> Outcome:
    """Predict, judge, and write ``record.json``, ``keyrate.json`` and ``verdict.json`` of a run.

    Raises
    ------
    InconclusiveError
        If no key rate follows from the record; it is written nevertheless.
    """
    file = run.folder / "record.json"
    try:
        rate, verdict = predict_and_judge(record, link, recipe)
    except InconclusiveError as error:
        verdict = Verdict("INCONCLUSIVE", (*record.problems, str(error)))
        record.judged(verdict, ()).write(file)
        raise error.after("Problems of this run", record.problems) from error
    record = record.judged(verdict, rate.assumptions)
    record.write(file)
    run.keep_json("keyrate.json", rate.as_document())
    run.keep_json(
        "verdict.json",
        {
            "verdict": verdict.decision,
            "reasons": verdict.reasons,
            "demands": verdict.demanded,
            "exit_code": verdict.exit_code,
            "sha256": hashes(run.folder),
        },
    )
    run.finish(str(verdict))
    return Outcome(record, link, recipe, rate, verdict)


def is_finished(folder: Path) -> bool:
    """Whether the calibration in a run folder has come to its verdict."""
    return is_there(folder / "verdict.json")


def load_outcome(folder: PathLike) -> Outcome:
    """Read the outcome of a run, with all that speaks against the folder.

    Parameters
    ----------
    folder
        The run folder of a finished calibration.

    Rate and verdict of a run of an earlier version, whose record holds none, or of one whose files
    have changed, are computed from the files as they are.

    Raises
    ------
    RecordError
        If the folder is not that of a finished calibration, or a file in it cannot be read.
    InconclusiveError
        If no key rate follows from the record.
    """
    folder = Path(folder)
    record = load_record(folder, accept=True)
    recipe = read_kept(Recipe, folder / "recipe.json")
    link = read_kept(Link, folder / "link.json")
    of_run = tuple(run_faults(folder, record))
    faults = (*record.faults, *of_run)
    touched = bool(record.faults) or any(o.field in _PREDICTION for o in of_run)
    if record.verdict is not None and not touched:
        if record.verdict.rate is None:
            raise InconclusiveError("; ".join(record.verdict.reasons))
        rate = read_key_rate(folder)
        return Outcome(record, link, recipe, rate, record.verdict, faults)
    try:
        rate, verdict = predict_and_judge(record, link, recipe)
    except InconclusiveError as error:
        if not faults:
            raise
        raise RecordError(f"{folder}: {'; '.join(map(str, faults))}; {error}") from None
    return Outcome(record, link, recipe, rate, verdict, faults, own=False)
