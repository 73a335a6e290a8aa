"""What a session has seen of the light, kept in the run folder so that a resumed run knows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from qdchar.errors import RecordError
from qdchar.files import read_json
from qdchar.raw_data import About, TagRun

from .plausibility import References
from .run import Run

FILE = "session.json"


@dataclass(frozen=True)
class SessionState:
    """What a session knows besides its results.

    Attributes
    ----------
    lock_rates_Hz
        Count rate at each lock of the cavity with the pump at the pi pulse [1/s].
    looks
        The first recording at each position of the light path.
    states
        The recording of each polarisation state.
    recordings
        Recordings that a later measurement analyses again, by the measurement that made them.
    references
        First looks at pump, laser and transmitter.
    """

    lock_rates_Hz: tuple[float, ...] = ()
    looks: Mapping[str, TagRun] = field(default_factory=dict)
    states: Mapping[str, TagRun] = field(default_factory=dict)
    recordings: Mapping[str, TagRun] = field(default_factory=dict)
    references: References = field(default_factory=References)

    def keep(self, run: Run) -> None:
        """Write it to a run folder."""
        folder = run.folder
        data = {
            "lock_rates_Hz": list(self.lock_rates_Hz),
            "looks": {path: _plain(r, folder) for path, r in self.looks.items()},
            "states": {name: _plain(r, folder) for name, r in self.states.items()},
            "recordings": {name: _plain(r, folder) for name, r in self.recordings.items()},
            "references": asdict(self.references),
        }
        run.keep_text(FILE, json.dumps(data) + "\n")


def read_state(folder: Path) -> SessionState:
    """Read what a session kept; nothing if it kept nothing.

    Raises
    ------
    RecordError
        If the file is damaged, or a recording that it names is missing.
    """
    if not (folder / FILE).exists():
        return SessionState()
    try:
        data = read_json(folder / FILE)
        return SessionState(
            tuple(float(rate) for rate in data["lock_rates_Hz"]),
            {path: _tag_run(r, folder) for path, r in data["looks"].items()},
            {name: _tag_run(r, folder) for name, r in data["states"].items()},
            {name: _tag_run(r, folder) for name, r in data["recordings"].items()},
            TypeAdapter(References).validate_python(data["references"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's is a ValueError
        raise RecordError(f"{folder / FILE}: damaged: {error!r}") from None


def _plain(run: TagRun, folder: Path) -> dict[str, Any]:
    return {
        "about": asdict(run.about),
        "file": str(run.file.relative_to(folder)),
        "channel_a": run.channel_a,
        "channel_b": run.channel_b,
        "channel_sync": run.channel_sync,
        "sync_divider": run.sync_divider,
        "duration_s": run.duration_s,
        "clicks": run.clicks.tolist(),
        "slice_s": run.slice_s.tolist(),
    }


def _tag_run(data: Mapping[str, Any], folder: Path) -> TagRun:
    fields: dict[str, Any] = dict(data)
    fields["about"] = About(**data["about"])
    fields["file"] = folder / data["file"]
    fields["clicks"] = np.array(data["clicks"], dtype=np.int64).reshape(-1, 2)
    fields["slice_s"] = np.array(data["slice_s"], dtype=np.float64)
    if not fields["file"].is_file():
        raise RecordError(f"{fields['file']} is missing")
    return TagRun(**fields)
