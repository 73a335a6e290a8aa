from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures, predict, predict_with_decoy
from qdchar.keyrate.block_for_bits import block_for_bits
from qdchar.link import Link

SOURCE, LINK = SourceFigures(), Link()


@pytest.mark.parametrize(
    ("protocol", "loss_dB", "bits"),
    [
        ("efficient-bb84", 14.6, 3e5),
        ("three-state", 9.0, 2.5e6),
        ("efficient-bb84-decoy", 25.0, 1e6),
    ],
)
def test_the_block_has_the_bits_and_a_smaller_one_has_not(
    protocol: Any, loss_dB: float, bits: float
) -> None:
    def length(block: float) -> float:
        how: Any = predict_with_decoy if protocol.endswith("-decoy") else predict
        (point,) = how(
            SOURCE, LINK, loss_dB=loss_dB, protocol=protocol, block=block, comparators=()
        )
        return float(point.key_length)

    block = block_for_bits(SOURCE, LINK, bits, loss_dB=loss_dB, protocol=protocol)
    assert length(block) >= bits
    assert length(block * (1 - 1e-4)) < bits
    assert length(block) == pytest.approx(bits, rel=1e-3)


def test_the_command_takes_bits() -> None:
    result = CliRunner().invoke(keyrate, ["--loss", "10", "--bits", "1e6", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["points"][0]["key_length"] == pytest.approx(1e6, rel=1e-3)
    assert answer["block_kind"] == "received"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--loss", "45", "--bits", "1e6"], "no block of up to"),
        (["--bits", "0.2"], "at least 1"),
        (["--bits", "nan"], "at least 1"),
        (["--bits", "1e6", "--time", "3"], "leave out --block"),
        (["--bits", "1e6", "--loss", "3", "--loss", "4"], "one loss"),
        (["--time", "1e-9"], "less than one pulse"),
        (["--block", "0.5"], "at least 1"),
        (["--loss", "1e8"], "at most 1000 dB"),
        (["--km", "1e9", "--db-per-km", "0.2"], "at most 1000 dB"),
        (["--source", "n=0.3,g2=0.01,n_u=-1"], "0 or more"),
        (["--source", "n=0.3,g2=0.01,g2_u=nan"], "0 or more"),
        (["--pass", "pass.csv", "--block", "0"], "leave the other options out"),
        (["--pass", "pass.csv", "--p-z", "0"], "leave the other options out"),
    ],
)
def test_what_is_asked_wrongly_is_refused(arguments: list[str], words: str) -> None:
    exception = CliRunner().invoke(keyrate, arguments).exception
    assert isinstance(exception, UsageError), exception
    assert words in str(exception)
