from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.keyrate import SourceFigures, predict, predict_with_decoy
from qdchar.keyrate.crossing import maximum_loss
from qdchar.keyrate.no_key import NoKey, why_no_key
from qdchar.link import Link

SOURCE = SourceFigures()


def reason(**link: Any) -> NoKey:
    given = Link.model_validate(link)
    (point,) = predict(SOURCE, given, comparators=())
    assert point.rate_per_pulse == 0
    return why_no_key(point, SOURCE, given)


@pytest.mark.parametrize(
    ("link", "name", "key"),
    [
        ({"background_count_rate": 1e6}, "background counts", "background_count_rate"),
        ({"dark_count_rate": 4000.0, "channel_loss": 25.0}, "dark counts", "dark_count_rate"),
        ({"misalignment": 0.12}, "misalignment", "misalignment"),
        ({"block": 1e3, "channel_loss": 10.0}, "block", "block"),
    ],
)
def test_the_cause_is_named_and_its_limit_is_one(
    link: dict[str, float], name: str, key: str
) -> None:
    lifts = {lift.name: lift for lift in reason(**link).lifts}
    lift = lifts[name]
    assert lift.value == link[key]
    for factor, keyed in ((1.0, True), (1.05 if name != "block" else 1 / 1.05, False)):
        changed = Link.model_validate({**link, key: lift.limit * factor})
        (point,) = predict(SOURCE, changed, comparators=())
        assert (point.rate_per_pulse > 0) == keyed


def test_beyond_the_reach_less_loss_lifts_it() -> None:
    lifts = {lift.name: lift for lift in reason(channel_loss=31.0).lifts}
    reach = maximum_loss(SOURCE, Link())
    assert reach is not None
    assert lifts["loss"].limit == pytest.approx(reach.value, rel=0.01)
    assert {"dark counts", "g2(0)"} <= lifts.keys()
    assert "background counts" not in lifts  # there are none


def test_with_decoy_states() -> None:
    link = Link.model_validate({"background_count_rate": 3e6})
    (point,) = predict_with_decoy(SOURCE, link, comparators=())
    assert point.rate_per_pulse == 0
    assert "background counts" in {lift.name for lift in why_no_key(point, SOURCE, link).lifts}


def test_the_command_says_why(tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.write_text("background_count_rate = 1e6\nblock_kind = 'asymptotic'\n")
    result = CliRunner().invoke(keyrate, ["--link", str(link), "--loss", "3", "20", "--json"])
    assert result.exit_code == 0, result.output
    near, far = json.loads(result.stdout.splitlines()[-1])["points"]
    assert near["no_key"] is None
    assert "error rate is too high" in far["no_key"]["term"]
    assert "No key at 20 dB: " in result.stdout
    assert "with background counts of at most" in result.stdout
