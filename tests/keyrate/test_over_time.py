from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.over_time import coherent_over_time, lead_over_time, predict_over_time
from qdchar.link import Constant, Link

SOURCE, LINK = SourceFigures(), Link()
TIME = np.arange(600.0)
LOSS = 12 + ((TIME - 300) / 80) ** 2
DAWN = 200 + 40 * TIME


def test_a_link_that_stays_is_one_block() -> None:
    """600 s at one loss: the key of a block of as many sent pulses, and no reason to stop early."""
    key = predict_over_time(SOURCE, LINK, TIME, np.full(600, 12.0))
    (block,) = predict(loss_dB=12.0, block=600 * 76.13e6, block_kind="sent", comparators=())
    assert block.key_length is not None
    assert key.key_length == pytest.approx(block.key_length, rel=1e-5)  # the search is quick
    assert (key.start_s, key.stop_s) == (0.0, 600.0)
    assert key.key_length == key.key_length_of_all


def test_a_source_that_is_attenuated_is_thinned_as_in_one_block() -> None:
    """Of its pairs both photons must get through: the square of the attenuation is left."""
    source = SourceFigures.from_values(0.3, 0.05)
    key = predict_over_time(source, LINK, TIME, np.full(600, 10.0))
    (block,) = predict(source, loss_dB=10.0, block=600 * 76.13e6, block_kind="sent", comparators=())
    assert block.attenuation < 0.8
    assert key.attenuation == pytest.approx(block.attenuation, rel=0.02)
    assert block.key_length is not None
    assert key.key_length == pytest.approx(block.key_length, rel=1e-4)


def test_the_best_window_is_that_of_an_exhaustive_search() -> None:
    """Every window of a coarse pass, each with its own best settings."""
    slots = TIME[::40], LOSS[::40], DAWN[::40]
    key = predict_over_time(SOURCE, LINK, *slots)
    best = max(
        predict_over_time(SOURCE, LINK, *(x[i:j] for x in slots)).key_length_of_all
        for i in range(6)
        for j in range(8, 16)
    )
    assert key.key_length >= best * (1 - 1e-6)
    assert key.key_length > 1.2 * key.key_length_of_all


def test_dawn_moves_the_window_to_the_dark_side() -> None:
    night = predict_over_time(SOURCE, LINK, TIME, LOSS)
    dawn = predict_over_time(SOURCE, LINK, TIME, LOSS, DAWN)
    assert night.start_s + night.stop_s == pytest.approx(600, abs=3)
    assert dawn.start_s + dawn.stop_s < 599
    assert dawn.key_length < night.key_length


def test_a_pass_with_its_source_at_limits_and_none_at_noon() -> None:
    best, limited = (
        predict_over_time(SOURCE, LINK, TIME, LOSS, DAWN, eps_source=eps) for eps in (None, 1e-10)
    )
    assert 0 < limited.key_length < best.key_length
    assert limited.attenuation < best.attenuation
    assert "1e-10" in " ".join(limited.assumptions)
    noon = predict_over_time(SOURCE, LINK, TIME, LOSS, np.full(600, 1e7))
    assert (noon.key_length, noon.key_length_of_all) == (0, 0)


def test_a_pass_takes_less_than_a_second() -> None:
    before = time.process_time()
    predict_over_time(SOURCE, Link(dead_time={"value": 2e-8}), TIME, LOSS, DAWN)
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (([0.0], [3.0]), "two slots"),
        (([0.0, 0.0], [3.0, 3.0]), "rise"),
        (([0.0, 1.0], [3.0]), "one loss"),
        (([0.0, 1.0], [3.0, -1.0]), "0 dB or more"),
        (([0.0, 1.0], [3.0, 3.0], [1.0, -1.0]), "0 Hz or more"),
    ],
)
def test_what_is_no_pass_is_refused(table: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        predict_over_time(SOURCE, LINK, *table)


def test_the_command_reads_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "pass.csv"
    rows = zip(TIME, LOSS, DAWN, strict=True)
    file.write_text(
        "time_s,loss_dB,background_Hz\n" + "".join(f"{t},{x},{b}\n" for t, x, b in rows)
    )
    result = CliRunner().invoke(keyrate, ["--pass", str(file), "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    expected = predict_over_time(SOURCE, LINK, TIME, LOSS, DAWN)
    assert answer["key_length"] == expected.key_length
    assert 0 < answer["at_source_limit"]["key_length"] < expected.key_length
    assert f"{expected.key_length:.0f} bit from {expected.start_s:g} s" in result.stdout
    for text, arguments, words in (
        ("time,loss\n1,2\n", (), "time_s,loss_dB"),
        ("time_s,loss_dB\n1,x\n", (), "row 2"),
        ("time_s,loss_dB\n0,3\n1,3\n", ("--loss", "3"), "leave the other options out"),
    ):
        file.write_text(text)
        exception = CliRunner().invoke(keyrate, ["--pass", str(file), *arguments]).exception
        assert isinstance(exception, UsageError)
        assert words in str(exception)


CLOCK = 76.13e6


def test_uncertainty_of_a_pass_is_that_of_searches_at_other_inputs() -> None:
    """Source and link moved by a tenth of u, with a search of settings and window each time."""
    link = Link.model_validate(
        {
            "detector_efficiency": {"value": 0.7, "u": 0.03},
            "misalignment": {"value": 0.02, "u": 0.002},
            "background_count_rate": {"value": 200.0, "u": 50.0},
        }
    )
    source = SourceFigures.from_values(0.3, 0.01, n_u=0.02, g2_u=0.001)
    table = TIME[::20], LOSS[::20]
    key = predict_over_time(source, link, *table)
    light = coherent_over_time(source, link, *table)

    def moved(name: str, by: float) -> tuple[float, float]:
        if name in ("mean_photon_number", "g2_zero"):
            estimate = getattr(source, name)
            s = replace(source, **{name: replace(estimate, value=estimate.value + by)})
            inputs: Any = (s, link)
        else:
            value = getattr(link, name).value + by
            inputs = (source, link.model_copy(update={name: Constant(value=value)}))
        keys = (predict_over_time(*inputs, *table), coherent_over_time(*inputs, *table))
        return keys[0].key_length, keys[1].key_length

    squares = leads = 0.0
    given = {
        "mean_photon_number": 0.02,
        "g2_zero": 0.001,
        "detector_efficiency": 0.03,
        "misalignment": 0.002,
        "background_count_rate": 50.0,
    }
    for name, u in given.items():
        high, low = moved(name, u / 10), moved(name, -u / 10)
        squares += (5 * (high[0] - low[0])) ** 2
        lead = 10 * np.log10(np.divide(high, low))
        leads += (5 * (lead[0] - lead[1])) ** 2
    assert key.key_length_u == pytest.approx(np.sqrt(squares), rel=0.01)
    found = lead_over_time(key, light)
    assert found is not None
    assert found.value == pytest.approx(10 * np.log10(key.key_length / light.key_length), rel=1e-9)
    assert found.u == pytest.approx(np.sqrt(leads), rel=0.02)
    assert lead_over_time(replace(key, key_length=0.0), light) is None


@pytest.mark.parametrize("states", ["bb84", "three-state"])
def test_coherent_light_on_a_link_that_stays_is_one_block(states: Any) -> None:
    protocol: Any = {"bb84": "efficient-bb84"}.get(states, states)
    key = coherent_over_time(SOURCE, LINK, TIME, np.full(600, 12.0), protocol=protocol)
    name = f"wcp-vacuum-weak-{states}"
    (block,) = predict(loss_dB=12.0, block=600 * CLOCK, block_kind="sent", comparators=(name,))
    whole = block.comparator(name).rate_per_pulse * 600 * CLOCK
    assert key.name == name
    assert key.key_length == pytest.approx(whole, rel=1e-6)
    assert (key.start_s, key.stop_s) == (0.0, 600.0)


def test_the_best_window_of_coherent_light_is_that_of_an_exhaustive_search() -> None:
    slots = TIME[::50], 4 + LOSS[::50], 4 * DAWN[::50]
    key = coherent_over_time(SOURCE, LINK, *slots)
    best = max(
        coherent_over_time(SOURCE, LINK, *(x[i:j] for x in slots)).key_length_of_all
        for i in range(4)
        for j in range(7, 13)
    )
    assert key.key_length >= best * (1 - 1e-4)
    assert key.key_length > 1.02 * key.key_length_of_all
