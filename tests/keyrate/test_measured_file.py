from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.errors import InconclusiveError, UsageError
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.decoy.attenuated_source_finite import best_attenuator_key
from qdchar.keyrate.decoy.attenuated_source_finite import expected_counts as attenuator_counts
from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.decoy.coherent_finite import expected_counts as coherent_counts
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.measured.file import load_session, session_key
from qdchar.link import Link

# The counts of the check value "alice_eb_9:1": 0.0013011 bits per pulse at p2 = 2.98e-4.
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


def with_limit(p2: float) -> str:
    return f"p2_limit = {p2!r}\neps_source = 1e-10\n{SINGLE}"


def key_of(folder: Path, text: str, *arguments: str, security: str = "published") -> dict[str, Any]:
    file, link = str(write(folder, text)), folder / "link.toml"
    link.write_text(f"security = '{security}'\n")
    whole = [*arguments, "--link", str(link), "--counts", file, "--json"]
    result = CliRunner().invoke(keyrate, whole)
    assert result.exit_code == 0, result.output
    key: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return key


@pytest.mark.parametrize(
    ("p2", "mbit"), [(2.976e-4, 34.6), (3.6e-4, 24.8), (4.3e-4, 1.8), (5.0e-4, 0.0)]
)
def test_the_limit_in_the_file_decides_about_the_key(
    tmp_path: Path, p2: float, mbit: float
) -> None:
    # an independent derivation gives one decimal of a Mbit
    key = key_of(tmp_path, with_limit(p2))
    assert key["key_length"] / 1e6 == pytest.approx(mbit, abs=0.051)
    assert (key["p2_limit"], key["eps_source"]) == (p2, 1e-10)
    # the source's part adds to the 1e-10 of the proof
    assert key["epsilon_secrecy"] == pytest.approx(2e-10)
    of_the_command = ("--p2-limit", str(p2), "--eps-source", "1e-10")
    assert key_of(tmp_path, SINGLE, *of_the_command)["key_length"] == key["key_length"]


@pytest.mark.parametrize(
    ("n_u", "g2_u", "p2", "mbit"),
    [
        (0.008, 0.00064, 5.0e-4, 0.0),  # Table 1
        # 6.361 standard deviations leave 1e-10 of a normal distribution above them: these two
        # add 20.97 % and 44.49 % to 2.976e-4
        (0.002, 0.0002093, 3.6e-4, 24.8),
        (0.004, 0.0004492, 4.3e-4, 1.8),
    ],
)
def test_the_source_s_uncertainties_decide_about_the_key(
    tmp_path: Path, n_u: float, g2_u: float, p2: float, mbit: float
) -> None:
    source = f"n=0.292,g2=0.00698,n_u={n_u},g2_u={g2_u}"
    key = key_of(tmp_path, SINGLE, "--source", source)
    assert key["p2_limit"] == pytest.approx(p2, rel=1e-3)
    # the limit's four digits move the key by up to 0.05 Mbit, its one printed decimal by as much
    assert key["key_length"] / 1e6 == pytest.approx(mbit, abs=0.1)


@pytest.mark.parametrize(
    "source", [(), ("--source", "n=0.292,g2=0.00698"), ("--source", "n=0.3,g2=0.007,n_u=0.01")]
)
def test_counts_without_a_limit_of_p2_are_refused(tmp_path: Path, source: tuple[str, ...]) -> None:
    file = str(write(tmp_path, SINGLE))
    result = CliRunner().invoke(keyrate, [*source, "--counts", file])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    for way_out in ("p2_limit", "record", "n_u", "g2_u"):
        assert way_out in str(result.exception)


@pytest.mark.parametrize("key", ["sifted", "test_errors", "crossed", "pulses_sent"])
def test_a_count_that_no_session_has_is_refused(tmp_path: Path, key: str) -> None:
    text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {'9' * 400}", with_limit(3e-4))
    assert "999" in text
    with pytest.raises(UsageError, match=key):
        session_key(load_session(write(tmp_path, text)), None, Link())


def test_rigorous_bounds_are_the_default(tmp_path: Path) -> None:
    """Worked out in the test: three bounds share 11/12 of 1e-10, and the tail is bounded."""
    sent, p_z, attenuation, p2 = 26_573_909_635, 0.97, 0.87, 3.1e-4
    b = math.log(3 / (11 / 12 * 1e-10))

    def most(expected: float) -> float:
        return expected + b / 2 + math.sqrt(2 * b * expected + b**2 / 4)

    good = 87_300_000 - most(sent * p_z * attenuation**2 * p2)
    good_test = 300_000 - most(sent * (1 - p_z) * attenuation**2 * p2)
    rate = 7626 / good_test
    total, share = good + good_test, max(good, good_test) / (good + good_test)
    g = 2 * b * total / (good * good_test)
    spread = 4 * rate * (1 - rate)
    skew = (1 - 2 * rate) * share * g
    phase = rate + (skew + math.sqrt((share * g) ** 2 + spread * g)) / (2 + 2 * share**2 * g)

    def h(x: float) -> float:
        return -x * math.log2(x) - (1 - x) * math.log2(1 - x)

    leak = 1.16 * h(2_219_039 / 87_300_000) * 87_300_000
    constant = 2 * math.log2(1 / (2 * 1e-10 / 24)) + math.log2(2 / 1e-15)
    expected = math.floor(good * (1 - h(phase)) - leak - constant)
    text = SINGLE.replace("p_z =", "p2_limit = 3.1e-4\neps_source = 1e-12\np_z =")
    result = CliRunner().invoke(keyrate, ["--counts", str(write(tmp_path, text)), "--json"])
    key = json.loads(result.stdout.splitlines()[-1])
    assert key["key_length"] == pytest.approx(expected, abs=1)
    assert key["security"] == "rigorous"
    assert key["epsilon_secrecy"] == pytest.approx(1.01e-10)
    published = key_of(tmp_path, text)
    # 22 and not 3 bounds, or a prefactor less: each costs less than 1 %
    assert 0.98 < key["key_length"] / published["key_length"] < 0.999
    assert published["security"] == "published"
    for sentence in key["assumptions"]:
        assert f"  {sentence}\n" in result.stdout


def test_a_limit_says_how_often_it_fails_and_stands_in_one_place(tmp_path: Path) -> None:
    text = SINGLE.replace("p_z =", "p2_limit = 3.1e-4\np_z =")
    for content, arguments, words in (
        (text, (), "with which probability"),
        (text, ("--eps-source", "0.7"), "less than 0.5"),
        (with_limit(3e-4), ("--p2-limit", "3e-4"), "given twice"),
        (SINGLE.replace("single-photon", "coherent"), ("--eps-source", "1e-9"), "single photons"),
    ):
        file = str(write(tmp_path, content))
        result = CliRunner().invoke(keyrate, [*arguments, "--counts", file])
        assert isinstance(result.exception, UsageError)
        assert words in str(result.exception)
    result = CliRunner().invoke(keyrate, ["--p2-limit", "3e-4"])
    assert "--counts" in str(result.exception)


def test_an_attenuator_s_session_needs_the_source_s_uncertainties(tmp_path: Path) -> None:
    text = SINGLE.replace("single-photon", "attenuator")
    text += "[settings]\nshare = [0.9, 0.08, 0.02]\ntransmission = [1.0, 0.3, 0.0]"
    session = load_session(write(tmp_path, text))
    for source in (None, SourceFigures.from_values(0.292, 0.00698, n_u=0.008)):
        with pytest.raises(UsageError, match="g2_u"):
            session_key(session, source, Link())


def test_the_command_gives_the_check_value(tmp_path: Path) -> None:
    file = str(write(tmp_path, with_limit(0.00698 * 0.292**2 / 2)))
    link = tmp_path / "link.toml"
    link.write_text("security = 'published'\n")
    result = CliRunner().invoke(keyrate, ["--counts", file, "--link", str(link), "--json"])
    assert result.exit_code == 0, result.output
    key = json.loads(result.stdout.splitlines()[-1])
    # half a count of 7626 test errors
    assert key["rate_per_pulse"] == pytest.approx(0.0013011, rel=2e-4)
    assert "secret key    3457" in result.stdout


def test_decoy_sessions(tmp_path: Path) -> None:
    link = Link(channel_loss=10.0, security="published")  # type: ignore[arg-type]
    given = LinkParameters.from_link(link)
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
    # the worst <n> and g2 that Table 1 allows at 1e-10 cost 0.3 %
    assert float(key.rate) * 0.996 < found.rate_per_pulse < float(key.rate) * 0.999


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SINGLE.replace("p_z", "p_zz"), "p_z"),
        (SINGLE.replace("test = 300_000", "test = 300_000.5"), "counts.test"),
        (SINGLE.replace("single-photon", "laser"), "light"),
        (SINGLE.replace("single-photon", "attenuator"), "needs [settings] transmission"),
        (SINGLE.replace("single-photon", "coherent"), "needs [settings] mean"),
        (SINGLE + "[settings]\nshare = [1.0]", "[settings] is for"),
        (with_limit(3e-4).replace("single-photon", "attenuator"), "p2_limit is for"),
        (with_limit(1.1), "a probability"),
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
    given = LinkParameters.from_link(Link())
    _, best = best_coherent_key(given)
    counts, sent = coherent_counts(best, given)
    text = toml(counts, "coherent", float(sent), 0.9, settings)
    with pytest.raises(UsageError, match=words):
        session_key(load_session(write(tmp_path, text)), SourceFigures(), Link())


CORRECTED = """
[correction]
leaked_bits = {leak}
verification_bits = {bits}
"""


def entropy(x: float) -> float:
    return -x * math.log2(x) - (1 - x) * math.log2(1 - x)


def test_what_was_disclosed_is_subtracted_bit_by_bit(tmp_path: Path) -> None:
    plain = key_of(tmp_path, with_limit(3e-4))
    estimated = 1.16 * 87_300_000 * entropy(2_219_039 / 87_300_000)
    assert plain["leaked_bits"] == pytest.approx(estimated, rel=1e-9)
    assert plain["leak_measured"] is False
    leak = round(estimated) - 100_000
    keys = [
        key_of(tmp_path, with_limit(3e-4) + CORRECTED.format(leak=leak + more, bits=bits))
        for more, bits in ((0, 50), (5000, 50), (0, 64))
    ]
    # the hash has 50 bits, where 1e-15 has 49.8
    assert keys[0]["key_length"] - plain["key_length"] == pytest.approx(100_000, abs=2)
    assert keys[0]["key_length"] - keys[1]["key_length"] == 5000
    assert keys[0]["key_length"] - keys[2]["key_length"] == 14
    assert keys[0]["leak_measured"] is True
    assert keys[0]["epsilon_correctness"] == pytest.approx(2**-50)


def test_keys_that_differ_are_no_key(tmp_path: Path) -> None:
    text = with_limit(3e-4) + "[correction]\nverified = false\n"
    with pytest.raises(InconclusiveError, match="the two keys differ"):
        session_key(load_session(write(tmp_path, text)), None, Link())
    text = with_limit(3e-4) + "[correction]\nleaked_bits = -1\n"
    with pytest.raises(UsageError, match="leaked_bits"):
        session_key(load_session(write(tmp_path, text)), None, Link())


def test_three_states_need_the_crossed_counts(tmp_path: Path) -> None:
    """Without them the phase error has no bound: it used to be "0 bit", exit code 0."""
    three = "protocol = 'three-state'\n" + with_limit(2e-5)
    with pytest.raises(UsageError, match="crossed_right"):
        session_key(load_session(write(tmp_path, three)), None, Link())
    whole = three + "crossed_right = 4_850_000\n"
    assert session_key(load_session(write(tmp_path, whole)), None, Link()).key_length > 1e6


def test_a_blocked_setting_may_let_light_through(tmp_path: Path) -> None:
    link = Link(channel_loss=10.0, security="published")  # type: ignore[arg-type]
    given = LinkParameters.from_link(link)
    _, settings = best_attenuator_key(0.292, 0.00698, given)
    keys = []
    for blocked in (0.0, 1e-5, 1e-3):
        transmission = settings.source.transmission.copy()
        transmission[2] = blocked
        real = replace(settings, source=replace(settings.source, transmission=transmission))
        counts, sent = attenuator_counts(real, given)
        behind = {"transmission": transmission, "share": settings.source.share}
        text = toml(counts, "attenuator", float(sent), float(settings.p_z), behind)
        keys.append(session_key(load_session(write(tmp_path, text)), SourceFigures(), link))
    lengths = [key.key_length for key in keys]
    assert lengths[0] >= lengths[1] >= lengths[2] > 0.9 * lengths[0]
    worst = keys[0].key_length_at_largest_p3
    assert worst is not None
    assert 0.85 < worst / lengths[0] < 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # 87.3 million detections of a million pulses used to give 54 bits a pulse
        (("pulses_sent = 26_573_909_635", "pulses_sent = 1e6"), "check pulses_sent"),
        (("p_z = 0.97", "p_z = 0.0001"), "with Alice in Z"),
        (("p_z = 0.97", "p_z = 0.999999"), "with Alice in the other basis"),
    ],
)
def test_more_detections_than_pulses_are_refused(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    text = with_limit(3e-4)
    assert change[0] in text
    with pytest.raises(UsageError, match=words):
        session_key(load_session(write(tmp_path, text.replace(*change))), None, Link())


def test_a_leak_that_corrects_no_errors_is_refused(tmp_path: Path) -> None:
    """100 bits for 2.2 million errors used to add 17 million bits to the key."""
    text = with_limit(3e-4) + CORRECTED.format(leak=100, bits=50)
    with pytest.raises(UsageError, match="count every parity"):
        session_key(load_session(write(tmp_path, text)), None, Link())


def test_options_that_counts_would_ignore_are_refused(tmp_path: Path) -> None:
    file = str(write(tmp_path, with_limit(3e-4)))
    for more in (["--loss", "5"], ["--protocol", "three-state"], ["--block", "1e7"], ["--reach"]):
        exception = CliRunner().invoke(keyrate, ["--counts", file, *more]).exception
        assert isinstance(exception, UsageError)
        assert f"leave the other options out: {more[0]}" in str(exception)
    exception = CliRunner().invoke(keyrate, ["--published", "--loss", "5"]).exception
    assert "--loss" in str(exception)
