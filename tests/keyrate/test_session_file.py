from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.conditions import Conditions
from qdchar.keyrate.decoy.attenuated_source_finite import best_attenuator_key
from qdchar.keyrate.decoy.attenuated_source_finite import expected_counts as attenuator_counts
from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.decoy.coherent_finite import expected_counts as coherent_counts
from qdchar.keyrate.measured.file import load_session, session_key
from qdchar.link import Link

# The counts of the check value "alice_eb_9:1": 0.0013011 bits per pulse.
SINGLE = """
light = "single-photon"
pulses_sent = 26_573_909_635
p_z = 0.97
attenuation = 0.87
[counts]
sifted = 87_300_000
sifted_errors = 2_219_039
test = 300_000
test_errors = 7_626
crossed = 9_700_000
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "session.toml"
    path.write_text(text)
    return path


def toml(counts: Any, light: str, sent: float, p_z: float, settings: dict[str, Any]) -> str:
    lines = [f"light = '{light}'", f"pulses_sent = {sent:.0f}", f"p_z = {p_z!r}", "[counts]"]
    lines += [f"{k} = {[int(x) for x in np.round(v)]}" for k, v in vars(counts).items()]
    lines += ["[settings]", *(f"{k} = {[float(x) for x in v]}" for k, v in settings.items())]
    return "\n".join(lines)


def test_the_command_gives_the_check_value(tmp_path: Path) -> None:
    file = str(write(tmp_path, SINGLE))
    result = CliRunner().invoke(keyrate, ["--counts", file, "--json"])
    assert result.exit_code == 0, result.output
    key = json.loads(result.stdout.splitlines()[-1])
    # half a count of 7626 test errors
    assert key["rate_per_pulse"] == pytest.approx(0.0013011, rel=2e-4)
    assert "secret key    3457" in result.stdout


def test_decoy_sessions(tmp_path: Path) -> None:
    link = Link(channel_loss=10.0)  # type: ignore[arg-type]
    given = Conditions.from_link(link)
    key, coherent = best_coherent_key(given)
    counts, sent = coherent_counts(coherent, given)
    light = {"mean": coherent.light.mean, "share": coherent.light.share}
    text = toml(counts, "coherent", float(sent), float(coherent.p_z), light)
    found = session_key(load_session(write(tmp_path, text)), SourceFigures(), link)
    assert found.rate_per_pulse == pytest.approx(float(key.rate), rel=1e-3)

    key, settings = best_attenuator_key(0.292, 0.00698, given)
    counts, sent = attenuator_counts(settings, given)
    behind = {"transmission": settings.source.transmission, "share": settings.source.share}
    text = toml(counts, "attenuator", float(sent), float(settings.p_z), behind)
    found = session_key(load_session(write(tmp_path, text)), SourceFigures(), link)
    assert float(key.rate) * 0.999 < found.rate_per_pulse < float(key.rate) * 1.02


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SINGLE.replace("p_z", "p_zz"), "p_z"),
        (SINGLE.replace("test = 300_000", "test = 300_000.5"), "counts.test"),
        (SINGLE.replace("single-photon", "laser"), "light"),
        (SINGLE.replace("single-photon", "attenuator"), "needs [settings] transmission"),
        (SINGLE.replace("single-photon", "coherent"), "needs [settings] mean"),
        (SINGLE + "[settings]\nshare = [1.0]", "[settings] is for"),
        ("light = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        session_key(load_session(write(tmp_path, text)), SourceFigures(), Link())
    assert words in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        load_session(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mean": [0.1, 0.5, 0.0], "share": [0.5, 0.3, 0.2]}, "means fall"),
        ({"mean": [0.5, 0.1, 0.0], "share": [0.5, 0.3, 0.3]}, "add up to 1"),
        ({"mean": [0.5, 0.1], "share": [0.5, 0.3, 0.2]}, "as many shares"),
    ],
)
def test_intensities_that_the_bounds_are_not_for(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    given = Conditions.from_link(Link())
    _, best = best_coherent_key(given)
    counts, sent = coherent_counts(best, given)
    text = toml(counts, "coherent", float(sent), 0.9, settings)
    with pytest.raises(UsageError, match=words):
        session_key(load_session(write(tmp_path, text)), SourceFigures(), Link())
