"""Raw draws of the studies: files that are made again from their seeds, so git does not hold them.

Each draw carries the tree (commit) of the code that made it, so that a summary can say it.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "draws"
"""Where draws are kept unless ``--draws`` says otherwise; ``.gitignore`` names it."""


def tree() -> str:
    """Return the commit of this code, with ``-dirty`` where files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def read(file: Path) -> pd.DataFrame:
    """Return all draws of a file, none if there is no such file."""
    return pd.read_csv(file) if file.exists() else pd.DataFrame({"seed": [], "tree": []})


def append(
    file: Path, header: Sequence[str], rows: Iterable[Sequence[object]], made_by: str
) -> None:
    """Add draws to a file, each with the tree that made it; a new file begins with its header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if new:
            writer.writerow((*header, "tree"))
        writer.writerows((*row, made_by) for row in rows)


def origin(draws: pd.DataFrame, run: Sequence[str] = ("seed",)) -> str:
    """Say which seeds the draws have, and which tree made how many runs.

    Parameters
    ----------
    run
        Columns that tell one run from another; a run may have several lines.
    """
    first, last = int(draws["seed"].min()), int(draws["seed"].max())
    by_tree = draws.drop_duplicates(["tree", *run]).groupby("tree", sort=False).size()
    made = ", ".join(f"{name} ({count})" for name, count in by_tree.items())
    return f"Seeds {first} to {last}; runs by tree: {made}."
