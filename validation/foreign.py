"""Analyse data of many kinds, as other labs have them: are the figures right, or flagged.

    python validation/foreign.py --draws 100 --write
    python validation/foreign.py --draws 20 --kind "rabi, meter zero"

The samplers, `foreign_tags.py` and `foreign_scans.py`, share no code with qdchar: plain numpy. Each
draw writes a small file and gives it to the analysis as a library call. ``right`` marks kinds that
the analysis claims to describe: their 95 % intervals must hold 93 to 97 % of the true values, and
at most 1 % may be flagged. Other kinds hold something that the analysis may not know: there a
figure may be wrong if it is flagged (a problem, or refused), and at most 2 % of the draws may be
more than 3 standard uncertainties off in silence; where the 68 % interval is wider than u on the
side of the true value, as of few counts, by three times that width.

The draws of a kind are seeds 1, 2, ... of `numpy.random.default_rng([seed, kind])`, so that they do
not depend on one another. Raw draws are kept in ``draws/foreign.csv``, and seeds that it holds are
not drawn again; ``--again`` forgets those of the kinds that are asked for. ``--write`` replaces the
committed table.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import raw_draws
from foreign_kinds import KINDS, Kind

from qdchar.errors import QdcharError

TABLE = Path(__file__).with_suffix(".md")
HEADER = ("seed", "kind", "quantity", "pull", "in_68", "in_95", "flagged", "said", "seconds")
MOST_SILENT, MOST_FLAGGED = 0.02, 0.01
FAR = 3.0
"""Standard uncertainties beyond which a value is wrong."""


def draw(kind: Kind, seed: int) -> list[tuple[object, ...]]:
    """Draw one file, analyse it, and return one row per quantity."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.name.encode())])
    begin = time.process_time()
    said = ""
    result = None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = kind.analyse(rng, Path(folder))
        except QdcharError as error:
            said = f"{type(error).__name__}: {error}"
    if result is not None and result.problems:
        said = result.problems[0]
    seconds = round(time.process_time() - begin, 3)
    said = " ".join(said.split())[:160]
    rows: list[tuple[object, ...]] = []
    for name, true in kind.truth.items():
        estimate = None if result is None else {e.name: e for e in result.estimates}.get(name)
        if estimate is None:
            absent = said or ("" if math.isnan(true) else f"no {name}")
            rows.append((seed, kind.name, name, "", 0, 0, 1, absent, seconds))
            continue
        u, value = estimate.u, estimate.value
        one = estimate.interval_68 or (value - u, value + u)
        two = estimate.interval_95 or (value - 1.96 * u, value + 1.96 * u)
        # of few counts the interval is wider on one side, and u is half of both
        aside = one[1] - value if true > value else value - one[0]
        # where nothing can be right, any value is wrong
        pull = math.inf if math.isnan(true) else (value - true) / max(u, aside)
        inside = [int(low <= true <= high) for low, high in (one, two)]
        rows.append((seed, kind.name, name, pull, *inside, int(bool(said)), said, seconds))
    return rows


@dataclass(frozen=True)
class Line:
    """Summary of one quantity of one kind."""

    kind: Kind
    quantity: str
    draws: int
    mean: float
    in_68: float
    in_95: float
    flagged: float
    silent: float

    @classmethod
    def of(cls, kind: Kind, quantity: str, rows: pd.DataFrame) -> Line:
        """Summarise the draws; pull and coverage are of those that were not flagged."""
        flagged = rows["flagged"].to_numpy(dtype=bool)
        quiet = rows[~flagged]
        pulls = quiet["pull"].to_numpy(dtype=np.float64)
        some = len(quiet) > 0
        return cls(
            kind,
            quantity,
            len(rows),
            float(np.mean(pulls)) if some else math.nan,
            float(quiet["in_68"].mean()) if some else math.nan,
            float(quiet["in_95"].mean()) if some else math.nan,
            float(flagged.mean()),
            float(np.sum(np.abs(pulls) > FAR)) / len(rows),
        )

    @property
    def verdict(self) -> str:
        """What is against the bounds, allowing for the binomial scatter of so few draws."""
        against = []

        def beyond(share: float, bound: float) -> bool:
            return share > bound + 3.0 * math.sqrt(bound * (1.0 - bound) / self.draws)

        if beyond(self.silent, MOST_SILENT):
            against.append("wrong in silence")
        if self.kind.right:
            if beyond(self.flagged, MOST_FLAGGED):
                against.append("false alarms")
            n = self.draws * (1.0 - self.flagged)
            if n > 0 and abs(self.in_95 - 0.95) > 0.02 + 3.0 * math.sqrt(0.95 * 0.05 / n):
                against.append("95 %")
        return ", ".join(against)


def summary(draws: pd.DataFrame) -> list[Line]:
    """Summarise all kinds that have draws."""
    return [
        Line.of(kind, name, rows)
        for kind in KINDS
        for name in kind.truth
        if len(rows := draws[(draws["kind"] == kind.name) & (draws["quantity"] == name)])
    ]


def table(lines: list[Line]) -> str:
    """Set the summary in a Markdown table."""

    def share(x: float) -> str:
        return "" if math.isnan(x) else f"{100.0 * x:.0f}"

    rows = [
        "| kind | right | quantity | draws | mean pull | in 68 % | in 95 % | flagged % "
        "| beyond 3 u, silent % | against the bounds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        mean = "" if not math.isfinite(line.mean) else f"{line.mean:+.2f}"
        cells = (
            line.kind.name,
            "yes" if line.kind.right else "",
            f"`{line.quantity}`",
            str(line.draws),
            mean,
            share(line.in_68),
            share(line.in_95),
            share(line.flagged),
            share(line.silent),
            line.verdict,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Draw what is missing, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100, help="draws of each kind")
    parser.add_argument("--kind", action="append", help="begin of a kind's name; several possible")
    parser.add_argument("--again", action="store_true", help="draw these kinds again")
    parser.add_argument("--out", type=Path, default=raw_draws.FOLDER, help="folder of raw draws")
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    arguments = parser.parse_args()
    if arguments.write and arguments.kind:
        parser.error("--write replaces the whole table: leave out --kind")
    file = arguments.out / "foreign.csv"
    kinds = [
        k for k in KINDS if not arguments.kind or any(k.name.startswith(b) for b in arguments.kind)
    ]
    known = raw_draws.read(file)
    if arguments.again and len(known):
        known = known[~known["kind"].isin([k.name for k in kinds])]
        known.to_csv(file, index=False)
    made_by = raw_draws.tree()
    for kind in kinds:
        done = set(known[known["kind"] == kind.name]["seed"]) if len(known) else set()
        for seed in range(1, arguments.draws + 1):
            if seed not in done:
                raw_draws.append(file, HEADER, draw(kind, seed), made_by)
    draws = raw_draws.read(file)
    names = {k.name for k in kinds}
    lines = [line for line in summary(draws) if line.kind.name in names]
    text = table(lines)
    print(text)
    wrong = sum(bool(line.verdict) for line in lines)
    last = f"{len(lines)} quantities of {len(names)} kinds, {wrong} against the bounds."
    print(last)
    if arguments.write:
        TABLE.write_text(
            "# Data of other labs\n\nWritten by `python validation/foreign.py --write`. "
            f"{raw_draws.origin(draws, ('kind', 'seed'))}\n\n{HEAD}\n\n{text}\n\n{last}\n",
            encoding="utf-8",
        )


HEAD = (
    "Pull and coverage are of the draws that were not flagged. Against the bounds: more than 2 % "
    "of the draws beyond 3 u in silence; where the model is right, more than 1 % flagged, or 95 % "
    "intervals that hold less than 93 or more than 97 %; each plus three binomial standard "
    "deviations of so many draws."
)

if __name__ == "__main__":
    main()
