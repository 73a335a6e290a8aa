"""Each option of `keyrate`, each key of a link file and of a session file changes the result."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.decoy.attenuated_source import AttenuatedSource
from qdchar.keyrate.decoy.attenuated_source_finite import AttenuatorSettings, expected_counts
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.measured.key import single_photon_session
from qdchar.keyrate.photon_statistics import multiphoton_probability
from qdchar.keyrate.single_photon.finite_key import BasisCounts, number_of_tail_bounds
from qdchar.link import Link

SOURCE = "n=0.31,g2=0.011,n_u=0.006,g2_u=0.0004,clock=81e6"
HELD = ("--p-z", "0.93", "--attenuation", "0.9")  # no search, so that the tests are quick


@pytest.fixture(autouse=True)
def _one_comparator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six searches for the settings of coherent light would take most of the time."""
    module = sys.modules["qdchar.keyrate.predict"]
    monkeypatch.setattr(module, "comparators_for", lambda _: ("wcp-ideal",))


@cache
def answer(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(keyrate, [*arguments, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def point(*arguments: str) -> dict[str, Any]:
    (found,) = answer(*arguments)["points"]
    return dict(found)


def file_with(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


BASE = ("--source", SOURCE, "--loss", "7", *HELD)


@pytest.mark.parametrize(
    "change",
    [
        ("--block", "3e6"),
        ("--block-kind", "sent"),
        ("--block-kind", "asymptotic"),
        ("--accounting", "joint"),
        ("--protocol", "three-state"),
        ("--loss", "9"),
        ("--p-z", "0.8"),
        ("--attenuation", "0.7"),
        *(("--source", f"{SOURCE},{more}") for more in ("n=0.33", "g2=0.02")),
    ],
)
def test_an_option_changes_the_rate(change: tuple[str, str]) -> None:
    # the last of two values counts, except of losses, which add up
    base = tuple(x for x in BASE if x not in ("--loss", "7")) if change[0] == "--loss" else BASE
    rate = point(*base, *change)["rate_per_pulse"]
    assert rate > 0
    assert abs(rate / point(*BASE)["rate_per_pulse"] - 1) > 1e-3


def test_held_settings_are_those_that_were_given() -> None:
    found = point(*BASE)
    assert (found["p_z"], found["attenuation"]) == (0.93, 0.9)
    assert point(*BASE, "--block-kind", "sent", "--block", "3e9")["pulses_sent"] == 3e9


def test_the_source_s_numbers_stand_where_they_belong() -> None:
    line = answer(*BASE)
    assert {name: (e["value"], e["u"]) for name, e in line["source"].items()} == {
        "mean_photon_number": (0.31, pytest.approx(0.006)),
        "g2_zero": (0.011, pytest.approx(0.0004)),
        "clock_rate": (81e6, 0.0),
    }
    (found,) = line["points"]
    assert found["rate_bps"] == pytest.approx(81e6 * found["rate_per_pulse"])
    assert found["acquisition_time_s"] == pytest.approx(found["pulses_sent"] / 81e6)


def test_a_lead_of_ten_is_10_dB_and_loses_what_both_sides_share() -> None:
    found = point("--source", SOURCE, "--loss", "7", "--block-kind", "asymptotic")
    for light in found["comparators"].values():
        expected = 10 * np.log10(found["rate_per_pulse"] / light["rate_per_pulse"])
        assert light["advantage_dB"] == pytest.approx(expected)
    # 1 dB of loss takes 1 dB of key and 1 dB of ideal coherent light (eta/e)
    link = Link(channel_loss={"value": 7.0, "u": 0.1}, dark_count_rate=0.0)
    source = SourceFigures.from_values(0.31, 1e-9)
    (alone,) = predict(source, link, block_kind="asymptotic", comparators=["wcp-ideal"])
    assert alone.rate_per_pulse_u / alone.rate_per_pulse == pytest.approx(0.023, rel=0.01)
    (light,) = alone.comparators
    assert light.advantage_dB_u is not None
    assert light.advantage_dB_u < 1e-3


@pytest.mark.parametrize(
    "line",
    [
        "fiber_optics_efficiency = 0.5",
        "detector_efficiency = 0.6",
        "dark_count_rate = 4000.0",
        "detector_dark_shares = [0.1, 0.1, 0.4, 0.4]",
        "background_count_rate = 4000.0",
        "dead_time = 4e-8",
        "gate_width = 1.1e-8",
        "misalignment = 0.03",
        "error_correction_efficiency = 1.3",
        "receiver = 'active'",
        "receiver_z_probability = 0.8",
        "epsilon_parameter_estimation = 1e-13",
        "epsilon_privacy_amplification = 1e-15",
        "epsilon_correctness = 1e-18",
        "security = 'rigorous'",
        "block = 3e6",
        "block_kind = 'sent'",
    ],
)
def test_a_key_of_the_link_file_changes_the_rate(tmp_path: Path, line: str) -> None:
    # a small block, in which also the logarithms of the failure probabilities count
    text = "" if line.startswith("block") else "block = 2e5\n"
    without = point(*BASE, "--link", file_with(tmp_path, "a.toml", text))["rate_per_pulse"]
    with_it = point(*BASE, "--link", file_with(tmp_path, "b.toml", f"{text}{line}\n"))
    assert without > 0
    assert abs(with_it["rate_per_pulse"] / without - 1) > 1e-6


SESSION = """
light = "single-photon"
pulses_sent = 26_573_909_635
p_z = 0.97
attenuation = 0.87
p2_limit = 2.9e-4
eps_source = 1e-10
[counts]
sifted = 87_300_000
sifted_errors = 2_219_039
test = 300_000
test_errors = 7_626
crossed = 9_700_000
crossed_right = 4_850_000
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pulses_sent = 26_573", "pulses_sent = 26_900"),
        ("p_z = 0.97", "p_z = 0.96"),
        ("attenuation = 0.87", "attenuation = 0.83"),
        ("p2_limit = 2.9e-4", "p2_limit = 2.7e-4"),
        ("sifted = 87_300", "sifted = 87_400"),
        ("sifted_errors = 2_219", "sifted_errors = 2_319"),
        ("test = 300", "test = 310"),
        ("test_errors = 7_626", "test_errors = 7_026"),
        ("[counts]", "accounting = 'joint'\n[counts]"),
    ],
)
def test_a_key_of_the_session_file_changes_the_key(tmp_path: Path, old: str, new: str) -> None:
    assert SESSION.count(old) == 1
    plain = answer("--counts", file_with(tmp_path, "a.toml", SESSION))
    changed = answer("--counts", file_with(tmp_path, "b.toml", SESSION.replace(old, new)))
    assert plain["key_length"] > 1e6
    assert abs(changed["key_length"] - plain["key_length"]) > 1e4


def test_the_limit_of_pairs_is_thinned_twice(tmp_path: Path) -> None:
    """Attenuation 0.5 of a limit of 4 p is attenuation 1 of a limit of p."""
    halved = SESSION.replace("0.87", "0.5").replace("2.9e-4", "8.8e-4")
    whole = SESSION.replace("0.87", "1.0").replace("2.9e-4", "2.2e-4")
    keys = [
        answer("--counts", file_with(tmp_path, f"{k}.toml", text))["key_length"]
        for k, text in enumerate((halved, whole))
    ]
    assert keys[0] == keys[1] > 1e6


def attenuator_session_text() -> str:
    """Counts of single photons behind a switched attenuator, with settings that are held."""
    n, g2 = np.asarray(0.31), np.asarray(0.011)
    transmission, share = np.array([1.0, 0.4, 0.0]), np.array([0.9, 0.07, 0.03])
    source = AttenuatedSource(n, g2, transmission, share, np.asarray(0.0))
    settings = AttenuatorSettings(np.asarray(0.92), source)
    counts, sent = expected_counts(settings, LinkParameters.from_link(Link(channel_loss=7.0)))
    lines = ["light = 'attenuator'", f"pulses_sent = {float(sent):.0f}", "p_z = 0.92", "[counts]"]
    lines += [f"{k} = {[round(float(x)) for x in v]}" for k, v in vars(counts).items()]
    lines += ["[settings]", "share = [0.9, 0.07, 0.03]", "transmission = [1.0, 0.4, 0.0]", ""]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[settings]", "[settings]\np3_max = 1e-4"),  # of at most g2 n^2/6 = 1.76e-4
        ("transmission = [1.0, 0.4, 0.0]", "transmission = [1.0, 0.405, 0.0]"),
        ("share = [0.9, 0.07, 0.03]", "share = [0.899, 0.071, 0.03]"),
        ("pulses_sent = ", "protocol = 'three-state'\npulses_sent = "),
    ],
)
def test_a_key_of_an_attenuator_s_session_changes_the_key(
    tmp_path: Path, old: str, new: str
) -> None:
    text = attenuator_session_text()
    assert text.count(old) == 1
    source = ("--source", SOURCE)
    plain = answer(*source, "--counts", file_with(tmp_path, "a.toml", text))
    changed = answer(*source, "--counts", file_with(tmp_path, "b.toml", text.replace(old, new)))
    assert plain["key_length"] > 1e6
    assert abs(changed["key_length"] / plain["key_length"] - 1) > 1e-5


COUNTS = BasisCounts(
    *(np.asarray(x) for x in (87_300_000, 2_219_039, 300_000, 7_626, 9_700_000, 4_850_000))
)


def test_privacy_amplification_costs_two_bits_a_halving() -> None:
    """The constant -2 log2(2 eps_PA) - log2(eps_cor) + 1, and nothing else, depends on them."""
    lengths = []
    for eps_pa, eps_cor in ((1e-10, 1e-15), (1e-10 / 2**20, 1e-15), (1e-10, 1e-15 / 2**20)):
        link = Link(epsilon_privacy_amplification=eps_pa, epsilon_correctness=eps_cor)
        key = single_photon_session(
            *(COUNTS, 26_573_909_635, None, link),
            p_z=0.97,
            p2_limit=2.2e-4,
            eps_source=1e-10,
        )
        lengths.append(key.key_length)
    # bits are rounded down
    assert lengths[0] - lengths[1] == pytest.approx(40, abs=1.01)
    assert lengths[0] - lengths[2] == pytest.approx(20, abs=1.01)


def test_tail_bounds_are_counted_by_proof() -> None:
    """Multi-photon pulses in both bases and the sample; three-state: two more sets and the rest."""
    counted = {
        (phase, accounting): number_of_tail_bounds(phase, accounting)  # type: ignore[arg-type]
        for phase in ("eb", "lt")
        for accounting in ("alice", "joint")
    }
    assert counted == {
        ("eb", "alice"): 3,
        ("eb", "joint"): 3,
        ("lt", "alice"): 7,
        ("lt", "joint"): 8,
    }
    given = LinkParameters.from_link(Link(security="rigorous"))
    assert given.eps_bound(4) == pytest.approx(Link().epsilon_parameter_estimation / 4)
    assert LinkParameters.from_link(Link()).eps_bound(4) == Link().epsilon_parameter_estimation


def test_two_photons_of_which_one_gets_through() -> None:
    """Binomial: of pairs, 2 a (1 - a) give one photon and a^2 two."""
    n, g2 = 0.4, 0.05
    p2 = float(multiphoton_probability(n, g2))
    assert p2 == pytest.approx(0.5 * 0.05 * 0.16)
    settings, share = np.array([1.0, 0.3, 0.0]), np.array([0.8, 0.15, 0.05])
    source = AttenuatedSource(np.asarray(n), np.asarray(g2), settings, share, np.asarray(0.0))
    p1 = n - 2 * p2
    assert source.photons()[1] == pytest.approx(
        [1 - 0.3 * p1 - (0.6 - 0.09) * p2, 0.3 * p1 + 0.42 * p2, 0.09 * p2, 0.0]
    )
    # thinning keeps g2: p2 is that of <n> times 0.3
    assert source.photons()[1, 2] == pytest.approx(float(multiphoton_probability(0.3 * n, g2)))
