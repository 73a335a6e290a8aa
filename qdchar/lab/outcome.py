"""The outcome of a calibration: record, key rate and verdict, as its run folder keeps them.

The calibration predicts the key rate and makes the verdict, once. `verdict.json` holds the hashes
of the files that they were made from. Who reads the folder later gets the same rate and verdict as
long as these files have not changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from qdchar.files import read_json
from qdchar.keyrate import KeyRate, predict, source_and_link
from qdchar.link import Link
from qdchar.record import SourceRecord, load_record

from .recipe import Recipe
from .run import Run
from .verdict import Verdict, judge

_RESTS_ON = ("record.json", "link.json", "recipe.json", "keyrate.json")


@dataclass(frozen=True)
class Outcome:
    """Record, key rate and verdict of a run.

    Attributes
    ----------
    link
        As in the link file; a misalignment that the record holds is not in it.
    changed
        Files of the run that have changed since the run's own verdict was made. Rate and verdict
        are then computed again, from the files as they are.
    """

    record: SourceRecord
    link: Link
    recipe: Recipe
    rate: KeyRate
    verdict: Verdict
    changed: tuple[str, ...] = ()


def predict_and_judge(record: SourceRecord, link: Link, recipe: Recipe) -> tuple[KeyRate, Verdict]:
    """Predict the key rate of a record on a link, and judge both."""
    source, measured_link = source_and_link(record, link)
    (rate,) = predict(source, measured_link, protocol=recipe.protocol, accounting=recipe.accounting)
    return rate, judge(record, rate, recipe)


def keep_outcome(run: Run, rate: KeyRate, verdict: Verdict) -> None:
    """Write ``keyrate.json`` and ``verdict.json`` of a run whose other files are written."""
    run.keep_json("keyrate.json", rate.as_document())
    run.keep_json(
        "verdict.json",
        {
            "verdict": verdict.decision,
            "reasons": verdict.reasons,
            "demands": verdict.demands,
            "exit_code": verdict.exit_code,
            "sha256": _hashes(run.folder),
        },
    )
    run.finish(str(verdict))


def is_finished(folder: Path) -> bool:
    """Whether the calibration in a run folder has come to its verdict."""
    return (folder / "verdict.json").exists()


def load_outcome(folder: Path) -> Outcome:
    """Read the outcome of a run; a run without ``verdict.json`` is predicted and judged anew.

    Raises
    ------
    RecordError
        If the folder is not that of a finished calibration.
    """
    record = load_record(folder, stale_ok=True)
    recipe = Recipe.model_validate(read_json(folder / "recipe.json"))
    link = Link.model_validate(read_json(folder / "link.json"))
    changed: tuple[str, ...] = ()
    if (folder / "verdict.json").exists():
        kept = read_json(folder / "verdict.json")
        now = _hashes(folder)
        changed = tuple(name for name in _RESTS_ON if kept["sha256"].get(name) != now.get(name))
        if not changed:
            rate = KeyRate.from_document(read_json(folder / "keyrate.json"))
            verdict = Verdict(
                kept["verdict"], tuple(kept["reasons"]), tuple(kept.get("demands", ()))
            )
            return Outcome(record, link, recipe, rate, verdict)
    rate, verdict = predict_and_judge(record, link, recipe)
    return Outcome(record, link, recipe, rate, verdict, changed)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that a verdict rests on, by name."""
    files = {name: folder / name for name in _RESTS_ON}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files.items()
        if file.exists()
    }
