from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qdchar.cli.keyrate import keyrate
from qdchar.errors import UsageError

LOSSES = ("--loss", "0.17", "5.11", "10.15", "14.6", "15.16", "25")
QUICK = ("--block-kind", "asymptotic")  # two comparators instead of all


@cache
def run(*arguments: str) -> Result:
    return CliRunner().invoke(keyrate, list(arguments))


def points(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert {"protocol", "accounting", "points"} <= answer.keys()
    found: list[dict[str, Any]] = answer["points"]
    return found


def test_several_losses_after_one_flag_and_repeated_flags() -> None:
    assert [p["loss_dB"] for p in points(*LOSSES)] == [0.17, 5.11, 10.15, 14.6, 15.16, 25]
    mixed = points("--loss", "1", "2", "--protocol", "three-state", "--loss", "3", *QUICK)
    assert [p["loss_dB"] for p in mixed] == [1.0, 2.0, 3.0]


def test_the_paper_s_measurements_stand_beside_the_predictions() -> None:
    output = run(*LOSSES, "--json").stdout
    for measured in ("0.0565", "0.01697", "0.004345", "0.00108", "0.001083"):
        assert measured in output
    for ratio in ("1.15", "1.20", "1.35", "0.93"):
        assert ratio in output


def test_every_field_of_the_design_is_in_the_json() -> None:
    point = points(*LOSSES)[3]
    assert {
        "loss_dB",
        "rate_per_pulse",
        "rate_per_pulse_u",
        "rate_bps",
        "p_z",
        "attenuation",
        "qber",
        "phase_error",
        "key_length",
        "pulses_sent",
        "comparators",
    } <= point.keys()
    for comparator in point["comparators"].values():
        assert comparator.keys() == {"rate_per_pulse", "advantage_dB", "advantage_dB_u"}
        assert comparator["advantage_dB_u"] > 0


def test_what_a_rate_assumes_is_said_below_the_table_and_in_the_json() -> None:
    for accounting in ("alice", "joint"):
        output = run("--accounting", accounting, *QUICK).stdout
        (point,) = points("--accounting", accounting, *QUICK)
        assert len(point["assumptions"]) == 7
        for sentence in point["assumptions"]:
            assert f"  {sentence}\n" in output


def test_source_options_and_held_settings() -> None:
    (point,) = points(
        *("--source", "n=0.5,g2=0.01,n_u=0.01,clock=1e8"),
        *("--p-z", "0.9", "--attenuation", "0.8", "--block", "1e9", "--block-kind", "sent"),
        *("--loss", "5", "--accounting", "joint"),
    )
    assert (point["p_z"], point["attenuation"], point["pulses_sent"]) == (0.9, 0.8, 1e9)
    assert point["rate_per_pulse_u"] > 0
    assert point["rate_bps"] == pytest.approx(1e8 * point["rate_per_pulse"])


def test_reach_and_crossings_are_said_with_their_uncertainty() -> None:
    result = run("--loss", "14.6", "--reach", "--json")
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["maximum_loss_dB"] == pytest.approx(29.64, abs=0.1)
    assert answer["maximum_loss_dB_u"] == pytest.approx(0.20, abs=0.01)
    assert "largest loss: 29.64(20) dB" in result.stdout
    paper = answer["crossings"]["wcp-vacuum-weak-three-state"]
    assert paper["value"] == pytest.approx(18.04, abs=0.01)
    assert paper["u"] == pytest.approx(0.406, abs=0.01)
    assert paper["unit"] == "dB"
    assert answer["crossings"]["wcp-ideal"] is None
    lines = {
        line.split()[0]: line
        for line in result.stdout.splitlines()
        if "wcp" in line and "oherent" not in line
    }
    assert lines["wcp-ideal"].endswith("never")
    assert lines["wcp-vacuum-weak-three-state"].endswith("18.04(41) dB")
    assert lines.keys() >= answer["crossings"].keys()


def test_a_reach_beyond_the_search_is_a_lower_limit(tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.write_text("dark_count_rate = 0.0\n")
    result = run(
        "--source", "n=0.9,g2=0", "--link", str(link), "--loss", "3", "--reach", "--json", *QUICK
    )
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["maximum_loss_dB"] == 80
    assert answer["maximum_loss_dB_u"] is None
    assert "largest loss: 80 dB or more" in result.stdout


def test_without_a_loss_it_is_the_link_s_own() -> None:
    assert points(*QUICK)[0]["loss_dB"] == 14.6


@pytest.mark.parametrize("wrong", ["n=0.3", "n=0.3,g2=x", "n=0.3;g2=0.1", "n=0.3,g2=0.1,g3=0"])
def test_a_source_that_is_not_understood(wrong: str) -> None:
    assert isinstance(run("--source", wrong).exception, UsageError)


def test_a_loss_that_is_not_a_number() -> None:
    result = run("--loss", "ten")
    assert result.exit_code == 2
    assert "losses in dB" in result.output


def test_single_photons_with_decoy() -> None:
    without = points(*LOSSES)[-1]
    (with_decoy,) = points("--loss", "25", "--protocol", "efficient-bb84-decoy")
    assert with_decoy["rate_per_pulse"] > 5 * without["rate_per_pulse"]
    assert without["decoy"] is None
    shares = [with_decoy["decoy"][name] for name in ("p_open", "p_weak", "p_blocked")]
    assert sum(shares) == pytest.approx(1)
    wrong = run("--protocol", "efficient-bb84-decoy", "--accounting", "joint")
    assert isinstance(wrong.exception, UsageError)


def test_the_rate_at_the_source_s_limits_stands_beside_the_best_estimate() -> None:
    """An independent derivation: 1.302e-3 becomes 7.75e-4 at 14.6 dB, the lead +3.30 to +1.05."""
    found = {p["loss_dB"]: p for p in points(*LOSSES)}
    field = found[14.6]
    assert field["rate_per_pulse"] == pytest.approx(1.302e-3, rel=2e-3)
    assert field["eps_source"] is None
    limit = field["at_source_limit"]
    assert limit["rate_per_pulse"] == pytest.approx(7.75e-4, rel=4e-3)
    assert limit["eps_source"] == pytest.approx(1e-10)
    assert "0.000773" in run(*LOSSES, "--json").stdout
    (looser,) = points("--loss", "14.6", "--eps-source", "1e-3", *QUICK)
    (tighter,) = points("--loss", "14.6", *QUICK)
    rates = [p["at_source_limit"]["rate_per_pulse"] for p in (tighter, looser)]
    assert rates[0] < rates[1] < looser["rate_per_pulse"]


def test_a_source_without_uncertainties_has_no_limit() -> None:
    exact = ("--source", "n=0.3,g2=0.007", *QUICK)
    (point,) = points(*exact)
    assert point["at_source_limit"] is None
    assert "no uncertainty" in run(*exact, "--json").stdout
    assert isinstance(run(*exact, "--eps-source", "1e-10").exception, UsageError)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "wcp-vacuum-weak-bb84"),
        (("--protocol", "three-state"), "wcp-vacuum-weak-three-state"),
        (("--protocol", "efficient-bb84-decoy"), "wcp-vacuum-weak-bb84"),
        (QUICK, "wcp-infinite-decoy"),
    ],
)
def test_the_comparator_of_the_same_protocol_leads(arguments: tuple[str, ...], name: str) -> None:
    result = run(*arguments, "--json")
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["comparator"] == name
    (point,) = answer["points"]
    assert point["comparator"] == name
    assert next(iter(point["comparators"])) == name
    assert point["comparators"][name]["advantage_dB_u"] > 0
    assert f"the lead over {name}, coherent light with the same protocol" in result.stdout


def test_like_with_like_at_the_field_link() -> None:
    """An independent derivation: four/four +0.02, three/three joint +3.55, alice -5.0 dB."""
    (four,) = points("--loss", "14.6")
    assert four["comparators"]["wcp-vacuum-weak-bb84"]["advantage_dB"] == pytest.approx(
        0.02, abs=0.01
    )
    for accounting, lead in (("joint", 3.55), ("alice", -5.0)):
        (three,) = points("--loss", "14.6", "--protocol", "three-state", "--accounting", accounting)
        found = three["comparators"]["wcp-vacuum-weak-three-state"]["advantage_dB"]
        # dark counts of the detectors' own, which the derivation divides like light: 0.07 dB
        assert found == pytest.approx(lead, abs=0.09)


def test_kilometres_of_fibre() -> None:
    by_length = points("--km", "20", "40", "--db-per-km", "0.19", *QUICK)
    assert [p["loss_dB"] for p in by_length] == pytest.approx([3.8, 7.6])
    for wrong, words in (
        (("--km", "20"), "--db-per-km"),
        (("--km", "20", "--db-per-km", "0"), "more than 0"),
        (("--km", "20", "--db-per-km", "0.2", "--loss", "3"), "one of them"),
        (("--db-per-km", "0.2"), "--km"),
        (("--time", "60", "--block", "1e9"), "--block"),
        (("--time", "-1"), "more than 0"),
        (("--reach", "--p-z", "0.9"), "--p-z"),
    ):
        exception = run(*wrong).exception
        assert isinstance(exception, UsageError)
        assert words in str(exception)


def test_a_time_is_a_block_of_sent_pulses() -> None:
    source = ("--source", "n=0.3,g2=0.007,clock=80e6", "--loss", "10", "--attenuation", "1")
    (by_time,) = points(*source, "--time", "60")
    (by_block,) = points(*source, "--block", "4.8e9", "--block-kind", "sent")
    assert by_time == by_block
    assert by_time["acquisition_time_s"] == pytest.approx(60)


def test_measurements_of_the_paper_stand_beside_its_own_source_only() -> None:
    assert "measured" in run("--loss", "14.6", *QUICK, "--json").stdout
    other = run("--source", "n=0.4,g2=0.01", "--loss", "14.6", *QUICK).stdout
    assert "measured" not in other


def test_three_photons_have_their_cost_shown() -> None:
    decoy = ("--protocol", "efficient-bb84-decoy", "--loss", "25")
    (point,) = points(*decoy)
    assert 0.65 < point["rate_at_largest_p3"] / point["rate_per_pulse"] < 0.85
    assert "Three photons in a pulse as likely as g2 allows" in run(*decoy, "--json").stdout
    (given,) = points(*decoy, "--p3-max", "5e-5")
    assert point["rate_at_largest_p3"] < given["rate_per_pulse"] < point["rate_per_pulse"]
    assert isinstance(run("--p3-max", "1e-5").exception, UsageError)
