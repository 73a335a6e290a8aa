"""Whole exchanges: the same key on both sides, attacks, and changed messages."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdchar.cli import run
from qdchar.cli.exchange import exit_code
from qdchar.drivers.twin.exchange_lab import Eavesdropper, InterceptResend, PhotonSplitting
from qdchar.errors import InconclusiveError, UsageError
from qdchar.exchange.messages import Message, PublicChannel
from qdchar.keyrate import SourceFigures
from qdchar.lab.exchange import Exchange, exchange, link_of_exchange
from qdchar.link import Link

SOURCE = SourceFigures.from_values(0.3, 0.006, n_u=0.004, g2_u=0.0003)


def _exchange(
    eavesdropper: Eavesdropper | None = None,
    channel: PublicChannel | None = None,
    protocol: Any = "efficient-bb84",
    block: float = 1.5e5,
    seed: int = 3,
) -> Exchange:
    return exchange(
        SOURCE,
        link_of_exchange(Link(), block, 4.0),
        protocol=protocol,
        accounting="joint",
        seed=seed,
        eavesdropper=eavesdropper,
        channel=channel,
    )


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    """Filled by `made`."""
    return []


@pytest.fixture(scope="module")
def made(messages: list[Message]) -> Exchange:
    def keep(message: Message) -> Message:
        messages.append(message)
        return message

    return _exchange(channel=PublicChannel(keep))


def test_both_sides_have_the_same_key_of_the_length_of_the_counts(made: Exchange) -> None:
    key = made.made.alice
    assert np.array_equal(key, made.made.bob)
    assert len(key) == made.made.final.key_length > 10_000
    assert len(key) == pytest.approx(made.made.from_counts.key_length, rel=0.015)
    low, high = made.predicted.interval
    assert low < made.made.from_counts.key_length < high
    # 5 sigma of a fair coin
    assert key.mean() == pytest.approx(0.5, abs=2.5 / np.sqrt(len(key)))
    assert made.made.efficiency < 1.2


def test_counted_errors_and_leak_are_those_of_the_messages(
    made: Exchange, messages: list[Message]
) -> None:
    told = [m for m in messages if m.subject == "parities"]
    assert made.made.leaked_bits == sum(m.disclosed_bits for m in told)
    assert made.made.final.leaked_bits == made.made.leaked_bits
    assert made.made.final.leak_measured
    # 50 bits of hash for a correctness of 1e-15
    (hashed,) = [m for m in messages if m.subject == "verification hash"]
    assert hashed.disclosed_bits == 50
    assert made.made.final.epsilon_correctness == 2.0**-50
    # 4 sigma of 100000 sifted bits; dark counts add less than 1e-5
    assert made.made.key_errors.rate == pytest.approx(0.0254, abs=0.002)


def test_the_key_is_in_no_message(made: Exchange, messages: list[Message]) -> None:
    key = np.packbits(made.made.alice)[:32].tobytes()
    assert not any(key in part.tobytes() for m in messages for part in m.parts)


@pytest.mark.parametrize(
    "subject",
    [
        "detections",
        "bases and test bits",
        "orders of the passes",
        "parities",
        "which parities",
        "verification hash",
        "verification",
        "amplification",
        "digest",
    ],
)
@pytest.mark.usefixtures("made")
def test_a_flipped_bit_is_noticed(subject: str, messages: list[Message]) -> None:
    numbers = [m.number for m in messages if m.subject == subject]
    rng = np.random.default_rng(len(subject))
    at = numbers[int(rng.integers(len(numbers)))]

    def flip(message: Message) -> Message:
        if message.number == at:
            part = message.parts[int(rng.integers(len(message.parts)))].view(np.uint8)
            part[rng.integers(len(part))] ^= 1 << rng.integers(8)
        return message

    with pytest.raises(InconclusiveError, match="exchange: "):
        _exchange(channel=PublicChannel(flip))


def test_intercepted_pulses_leave_no_key() -> None:
    done = _exchange(InterceptResend(0.3))
    assert len(done.made.alice) == done.made.final.key_length == 0
    # 0.7 * 2.54 % + 0.3 * 1/4 with a little of the misalignment; 5 sigma of 120000 are 0.4 %
    assert done.made.key_errors.rate == pytest.approx(0.0254 + 0.3 * (0.25 - 0.0127), abs=0.005)


def test_no_key_is_longer_than_what_splitting_leaves_unknown() -> None:
    done = _exchange(PhotonSplitting())
    assert done.tapped_bits is not None
    assert done.unknown_bits is not None
    assert done.tapped_bits > 100
    assert 0 < len(done.made.alice) < done.unknown_bits
    # the bound on what came from pairs holds
    assert done.made.final.secure_detections < done.made.key_errors.detections - done.tapped_bits


def test_three_states_make_a_key() -> None:
    done = _exchange(protocol="three-state", block=4e5)
    assert np.array_equal(done.made.alice, done.made.bob)
    assert len(done.made.alice) == done.made.final.key_length > 1000


def test_links_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="passive"):
        link_of_exchange(Link(receiver="active"))
    with pytest.raises(UsageError, match="bounds are rigorous"):
        link_of_exchange(Link(security="published"))
    with pytest.raises(UsageError, match="asymptotic"):
        link_of_exchange(Link(block=1e6, block_kind="asymptotic"))
    with pytest.raises(UsageError, match="at least 1000"):
        link_of_exchange(Link(), block=30)
    with pytest.raises(UsageError, match="0 dB or more"):
        link_of_exchange(Link(), loss_dB=-1)
    with pytest.raises(UsageError, match="no key is expected"):
        exchange(SOURCE, link_of_exchange(Link(), 5000, 20.0))
    with pytest.raises(UsageError, match="GB of memory"):
        exchange(SOURCE, link_of_exchange(Link(), 1e9, 5.0))


def test_what_the_link_says_stays() -> None:
    given = Link.model_validate(
        {"dead_time": 50e-9, "error_correction_efficiency": 1.3, "block": 7e5, "block_kind": "sent"}
    )
    link = link_of_exchange(given)
    assert link == given
    assert link_of_exchange(Link()).dead_time.value == 30e-9
    assert link_of_exchange(given, 9e4).block_kind == "received"


def test_the_command_writes_keys_and_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["exchange", "--out", str(tmp_path), "--loss", "3", "--block", "2e5", "--json"]
    assert run([*arguments, "--eavesdropper", "splitting"]) == 0
    out = capsys.readouterr().out
    line = json.loads(out.splitlines()[-1])
    assert "not authenticated" in out
    assert f"knows {line['tapped_bits']} sifted bits" in out
    disclosed = sum(sent["disclosed_bits"] for sent in line["messages"].values())
    assert disclosed == line["leaked_bits"] + 50
    assert line["unknown_bits"] == line["counts"]["sifted"] - line["tapped_bits"] - disclosed
    assert line["made"]["key_length"] < line["unknown_bits"]
    (folder,) = tmp_path.iterdir()
    alice, bob = (folder / f"{side}.key" for side in ("alice", "bob"))
    assert alice.read_bytes() == bob.read_bytes()
    assert alice.stat().st_size == -(-line["made"]["key_length"] // 8)
    assert alice.stat().st_mode & 0o077 == 0
    assert (folder / "exchange.png").stat().st_size > 10_000
    assert json.loads((folder / "exchange.json").read_text())["counts"] == line["counts"]
    assert line["made"]["identical"] is True


def test_the_command_ends_with_10_where_an_attack_leaves_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link.toml"
    link.write_text("channel_loss = 2.0\nmisalignment = 0.01\nblock = 1e5\n", encoding="utf-8")
    arguments = ["exchange", "--link", str(link), "--eavesdropper", "intercept=0.9"]
    assert run([*arguments, "--out", str(tmp_path / "runs"), "--json"]) == 10
    out = capsys.readouterr().out
    line = json.loads(out.splitlines()[-1])
    assert "there is no key" in out
    assert line["made"]["key_length"] == line["from_counts"]["key_length"] == 0
    assert line["qber"]["z"]["value"] == pytest.approx(0.01 + 0.9 * (0.25 - 0.005), abs=0.01)
    (folder,) = (tmp_path / "runs").iterdir()
    assert not list(folder.glob("*.key"))


def test_two_different_keys_are_a_failure(made: Exchange) -> None:
    assert exit_code(made.made) == 0
    flipped = made.made.bob.copy()
    flipped[17] ^= 1
    assert exit_code(replace(made.made, bob=flipped)) == 11
    assert exit_code(replace(made.made, bob=made.made.bob[:-1])) == 11


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
@pytest.mark.parametrize(
    ("largest_file", "name"), [(500, "exchange.json"), (20_000, "exchange.png")]
)
def test_a_full_disk_ends_with_23_and_the_files_name(
    largest_file: int,
    name: str,
    made: Exchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import resource

    monkeypatch.setattr("qdchar.lab.exchange.exchange", lambda *_args, **_options: made)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, before[1]))
    try:
        code = run(["exchange", "--out", str(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    out, err = capsys.readouterr()
    assert code == 23
    assert f"{name}: cannot be written: File too large" in err
    assert "identical on both sides" in out  # the result is told nevertheless
    (folder,) = tmp_path.iterdir()
    for file in folder.glob("*.json"):
        json.loads(file.read_text())


@pytest.mark.parametrize("attack", ["intercept", "intercept=half", "intercept=2", "tickle"])
def test_unknown_eavesdroppers_are_refused(attack: str, tmp_path: Path) -> None:
    assert run(["exchange", "--out", str(tmp_path), "--eavesdropper", attack]) == 2
    assert not any(tmp_path.iterdir())
