"""The verdict at, below and above each bound, two standard uncertainties included."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from qdchar.estimate import Contribution, Estimate
from qdchar.keyrate import Comparison, KeyRate, SourceFigures, predict
from qdchar.lab.recipe import QuantityLimits, Recipe
from qdchar.lab.verdict import judge
from qdchar.link import Link
from qdchar.record import SourceRecord, make_record
from qdchar.verdict import Demand, decide

G2, G2_U = 0.0125, 0.0005
KEY, KEY_U = 3.0e-4, 1.0e-5


def record(*problems: str) -> SourceRecord:
    g2 = Estimate(
        name="g2_zero", value=G2, method="counted", budget=(Contribution("counts", G2_U),)
    )
    return make_record(
        [g2],
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=False,
        valid_for=timedelta(hours=1),
        tuning={},
        problems=problems,
    )


def key_rate(value: float = KEY, lead_dB: float | None = 1.5, lead_u: float = 0.2) -> KeyRate:
    (rate,) = predict(SourceFigures.from_values(0.31, 0.009), Link(), comparators=())
    light = Comparison("wcp-ideal", 1e-4, lead_dB, (Contribution("loss", lead_u, "B"),))
    budget = (Contribution("source", KEY_U if value else 0.0, "B"),)
    return rate.__class__(
        **{**vars(rate), "rate_per_pulse": value, "budget": budget, "comparators": (light,)}
    )


@pytest.mark.parametrize(
    ("bound", "decision"),
    [
        (QuantityLimits(max=G2 + 2.1 * G2_U), "GO"),
        (QuantityLimits(max=G2 + 1.9 * G2_U), "INCONCLUSIVE"),
        (QuantityLimits(max=G2 - 1.9 * G2_U), "INCONCLUSIVE"),
        (QuantityLimits(max=G2 - 2.1 * G2_U), "NO-GO"),
        (QuantityLimits(min=G2 - 2.1 * G2_U), "GO"),
        (QuantityLimits(min=G2 - 1.9 * G2_U), "INCONCLUSIVE"),
        (QuantityLimits(min=G2 + 1.9 * G2_U), "INCONCLUSIVE"),
        (QuantityLimits(min=G2 + 2.1 * G2_U), "NO-GO"),
        (QuantityLimits(min=G2 - 2.1 * G2_U, max=G2 - 2.1 * G2_U), "NO-GO"),
    ],
)
def test_a_limit_is_judged_by_two_standard_uncertainties(
    bound: QuantityLimits, decision: str
) -> None:
    verdict = judge(record(), key_rate(), Recipe(limits={"g2_zero": bound}))
    assert verdict.decision == decision
    assert any("g2(0) at" in demand for demand in verdict.demanded)


@pytest.mark.parametrize(
    ("least", "decision"),
    [
        (0.0, "GO"),
        (KEY - 2.1 * KEY_U, "GO"),
        (KEY - 1.9 * KEY_U, "INCONCLUSIVE"),
        (KEY + 1.9 * KEY_U, "INCONCLUSIVE"),
        (KEY + 2.1 * KEY_U, "NO-GO"),
    ],
)
def test_the_rate_is_judged_by_two_standard_uncertainties(least: float, decision: str) -> None:
    assert judge(record(), key_rate(), Recipe(min_rate_per_pulse=least)).decision == decision


@pytest.mark.parametrize(
    ("least", "decision"),
    [(1.0, "GO"), (1.2, "INCONCLUSIVE"), (1.8, "INCONCLUSIVE"), (2.0, "NO-GO"), (-3.0, "GO")],
)
def test_a_lead_is_judged_by_two_standard_uncertainties(least: float, decision: str) -> None:
    recipe = Recipe(min_advantage_dB={"wcp-ideal": least})
    assert judge(record(), key_rate(lead_dB=1.5, lead_u=0.2), recipe).decision == decision


def test_no_key_is_a_no_go_whatever_is_demanded() -> None:
    assert judge(record(), key_rate(0.0, lead_dB=None), Recipe()).decision == "NO-GO"


def test_a_lead_over_light_that_gives_no_key_is_a_lead() -> None:
    recipe = Recipe(min_advantage_dB={"wcp-ideal": 10.0})
    assert judge(record(), key_rate(lead_dB=None), recipe).decision == "GO"


def test_a_problem_makes_any_outcome_inconclusive() -> None:
    recipe = Recipe(limits={"g2_zero": QuantityLimits(max=0.5 * G2)})
    verdict = judge(record("the light is gone"), key_rate(), recipe)
    assert (verdict.decision, verdict.exit_code) == ("INCONCLUSIVE", 11)
    assert verdict.reasons == ("the light is gone",)


def test_reasons_are_what_decides() -> None:
    """A limit that is broken, a rate that is undecided, a lead that is kept."""
    broken = {"g2_zero": QuantityLimits(max=0.5 * G2)}
    undecided, kept = KEY, {"wcp-ideal": 1.0}
    no_go = judge(
        record(),
        key_rate(),
        Recipe(limits=broken, min_rate_per_pulse=undecided, min_advantage_dB=kept),
    )
    (reason,) = no_go.reasons
    assert no_go.decision == "NO-GO"
    assert "at most" in reason
    assert "(limits.g2_zero) demanded" in reason
    open_ = judge(record(), key_rate(), Recipe(min_rate_per_pulse=undecided, min_advantage_dB=kept))
    (reason,) = open_.reasons
    assert reason.startswith("undecided: key rate ")
    go = judge(record(), key_rate(), Recipe(min_advantage_dB=kept))
    assert go.reasons[0].startswith("key rate ")
    assert "1.50(20) dB above wcp-ideal" in go.reasons[1]


def test_what_was_not_measured_keeps_no_limit() -> None:
    recipe = Recipe(limits={"visibility": QuantityLimits(min=0.9)})
    verdict = judge(record(), key_rate(), recipe)
    assert verdict.decision == "INCONCLUSIVE"
    assert "two-photon visibility was not measured" in verdict.reasons[0]


def test_exit_codes_are_numbers_that_scripts_know() -> None:
    go = judge(record(), key_rate(), Recipe())
    no_go = judge(record(), key_rate(), Recipe(min_rate_per_pulse=1.0))
    assert (go.exit_code, no_go.exit_code) == (0, 10)
    assert go.demanded == ("a key rate above 0 bit per pulse",)
    assert "1.50(20) dB above wcp-ideal" in go.reasons


@pytest.mark.parametrize(
    ("margin", "u", "state"),
    [
        (2.0, 1.0, "kept"),  # at two standard uncertainties exactly
        (1.999, 1.0, "undecided"),
        (-2.0, 1.0, "undecided"),
        (-2.001, 1.0, "broken"),
        (0.0, 0.0, "kept"),
        (-1e-9, 0.0, "broken"),
        (math.inf, 0.0, "kept"),
        (-math.inf, 0.0, "broken"),
        (None, 0.0, "undecided"),
    ],
)
def test_the_state_of_a_demand_at_below_and_above_each_bound(
    margin: float | None, u: float, state: str
) -> None:
    demand = Demand.of("wanted", "found", margin, u)
    assert demand.state == state
    assert demand.margin == (None if margin is None or math.isinf(margin) else margin)


def test_a_problem_outweighs_all_and_one_broken_demand_all_others() -> None:
    kept, broken, between = (Demand.of("w", "f", m, 1.0) for m in (3.0, -3.0, 0.0))
    table = [
        ((), (kept,), "GO"),
        ((), (kept, between), "INCONCLUSIVE"),
        ((), (between, broken, kept), "NO-GO"),
        (("dark",), (kept,), "INCONCLUSIVE"),
        (("dark",), (broken,), "INCONCLUSIVE"),
    ]
    for problems, demands, decision in table:
        assert decide(problems, demands) == decision


def test_the_verdict_keeps_every_demand_and_the_rate_that_it_was_made_from() -> None:
    recipe = Recipe(
        limits={"g2_zero": QuantityLimits(min=0.001, max=0.02)},
        min_rate_per_pulse=1e-4,
        min_advantage_dB={"wcp-ideal": 1.0},
    )
    verdict = judge(record(), key_rate(), recipe)
    margins = [(d.margin, d.u) for d in verdict.demands]
    assert margins == [
        pytest.approx((G2 - 0.001, G2_U)),
        pytest.approx((0.02 - G2, G2_U)),
        pytest.approx((KEY - 1e-4, KEY_U)),
        pytest.approx((0.5, 0.2)),
    ]
    assert verdict.rate is not None
    assert (verdict.rate.rate_per_pulse, verdict.rate.rate_per_pulse_u) == (KEY, KEY_U)
    assert verdict.rate.comparators["wcp-ideal"].advantage_dB == 1.5
    for words in ("at least 1e-3", "at most 0.02", "above 0.0001 bit", "1 dB over wcp-ideal"):
        assert any(words in demanded for demanded in verdict.demanded), words
