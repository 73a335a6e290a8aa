from __future__ import annotations

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.keyrate import SourceFigures, predict, predict_with_decoy
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.monte_carlo import sample_rates
from qdchar.keyrate.published.values import PAPERS_LINK
from qdchar.keyrate.single_photon.rate import best_single_photon_key
from qdchar.link import Constant, Link


def test_table_1_gives_the_known_rates_with_their_errors() -> None:
    zero, field = predict(loss_dB=[0.0, 14.6], comparators=())
    assert zero.rate_per_pulse == pytest.approx(6.76e-2, abs=5e-5)
    assert zero.rate_per_pulse_u == pytest.approx(0.18e-2, abs=5e-5)
    assert field.rate_per_pulse == pytest.approx(1.30e-3, abs=5e-6)
    assert field.rate_per_pulse_u == pytest.approx(0.12e-3, abs=5e-6)
    assert field.rate_bps == pytest.approx(field.rate_per_pulse * 76.13e6)
    assert field.key_length == pytest.approx(field.rate_per_pulse * field.pulses_sent)
    assert {c.source for c in field.budget} == {"source: mean_photon_number", "source: g2_zero"}


def test_linear_uncertainty_is_the_spread_of_reoptimised_rates() -> None:
    """The envelope theorem: moving the settings with the source changes nothing to first order."""
    rng = np.random.default_rng(5)
    n, g2 = rng.normal(0.292, 0.0008, 150), rng.normal(0.00698, 0.00006, 150)
    given = LinkParameters.from_link(Link(), 12.0)
    rates = best_single_photon_key(n, g2, given).rate
    (linear,) = predict(
        SourceFigures.from_values(0.292, 0.00698, n_u=0.0008, g2_u=0.00006),
        loss_dB=12.0,
        comparators=(),
    )
    # the spread of 150 draws is known to 1/sqrt(300) = 6 %; three times that
    assert linear.rate_per_pulse_u == pytest.approx(np.std(rates), rel=0.18)


def test_shared_error_sources_are_carried() -> None:
    """n and g2 moved by one common source: their contributions add with signs."""

    def figure(name: str, value: float, u: float, unit: str = "1") -> Estimate:
        budget = (Contribution("detector", u, "B"),)
        return Estimate(
            name=name,
            value=value,
            method="m",
            budget=budget,
        )

    clock = Estimate(
        name="clock_rate",
        value=80e6,
        method="m",
    )
    together = SourceFigures.from_estimates(
        figure("mean_photon_number", 0.3, 0.006), figure("g2_zero", 0.01, 0.002), clock
    )
    assert together.covariance == pytest.approx(np.outer([0.006, 0.002], [0.006, 0.002]))
    opposite = SourceFigures.from_estimates(
        figure("mean_photon_number", 0.3, 0.006), figure("g2_zero", 0.01, -0.002), clock
    )
    apart = SourceFigures.from_values(0.3, 0.01, n_u=0.006, g2_u=0.002)
    u = [
        predict(s, loss_dB=11.0, comparators=())[0].rate_per_pulse_u
        for s in (together, apart, opposite)
    ]
    assert u[0] < u[1] < u[2]  # more photons raise the rate, more g2 lowers it
    assert u[0] ** 2 + u[2] ** 2 == pytest.approx(2 * u[1] ** 2, rel=1e-6)


def test_link_uncertainties_count_and_an_asked_loss_is_exact() -> None:
    link = Link(channel_loss=Constant(value=10.0, u=1.0), misalignment=Constant(value=0.02, u=2e-3))
    (own,) = predict(link=link, comparators=())
    (asked,) = predict(link=link, loss_dB=10.0, comparators=())
    assert own.rate_per_pulse == asked.rate_per_pulse
    names = {c.source for c in own.budget}
    assert {"link: channel_loss", "link: misalignment"} <= names
    assert "link: channel_loss" not in {c.source for c in asked.budget}
    # 1 dB more loss, at fixed settings: -21 % from the photons alone, more from multi-photons
    loss_part = next(c.u for c in own.budget if c.source == "link: channel_loss")
    assert -0.4 * own.rate_per_pulse < loss_part < -0.2 * own.rate_per_pulse


def test_comparators_and_advantages() -> None:
    near, far = predict(loss_dB=[0.0, 45.0])
    ideal = near.comparator("wcp-ideal")
    assert ideal.rate_per_pulse == pytest.approx(0.4272 / np.e)
    assert ideal.advantage_dB == pytest.approx(
        10 * np.log10(near.rate_per_pulse / ideal.rate_per_pulse)
    )
    assert far.rate_per_pulse == 0
    assert far.comparator("wcp-infinite-decoy").advantage_dB is None
    assert far.comparator("wcp-infinite-decoy").advantage_dB_u is None
    assert far.rate_per_pulse_u == 0


def test_what_both_share_cancels_in_the_advantage() -> None:
    """Rates of single photons with decoys and of ideal light: both in proportion to eta."""
    link = Link(
        channel_loss=Constant(value=10.0, u=1.1),
        detector_efficiency=Constant(value=0.71, u=0.02),
        dark_count_rate=0.0,  # type: ignore[arg-type]
    )
    (point,) = predict_with_decoy(link=link, block_kind="asymptotic")
    # 1.1 dB are 25 % of the rate by themselves
    assert point.rate_per_pulse_u > 0.25 * point.rate_per_pulse
    alone = 10 / np.log(10) * 0.008 / 0.292
    for comparison in point.comparators:
        # what is left: <n>, and gains that are not quite linear
        assert comparison.advantage_dB_u == pytest.approx(alone, rel=0.02)
        parts = {c.source: abs(c.u) for c in comparison.budget}
        assert parts["link: channel_loss"] < 0.02


def test_the_advantage_s_uncertainty_is_that_of_drawn_links() -> None:
    """Source and link drawn together, coherent light and source optimised anew in each draw."""
    link = Link(
        channel_loss=Constant(value=12.0, u=0.4),
        detector_efficiency=Constant(value=0.7, u=0.01),
        misalignment=Constant(value=0.025, u=0.003),
    )
    names = ("wcp-infinite-decoy", "wcp-vacuum-weak-bb84")
    (point,) = predict(link=link, comparators=names)
    drawn = sample_rates(
        SourceFigures(), link, draws=500, rng=np.random.default_rng(19), comparators=names
    )
    for name in names:
        spread = np.std(10 * np.log10(drawn.rates / drawn.comparators[name]), ddof=1)
        # 500 draws know it to 3.2 %
        assert point.comparator(name).advantage_dB_u == pytest.approx(spread, rel=0.08)


def test_asymptotic_has_no_block() -> None:
    (point,) = predict(loss_dB=3.0, block_kind="asymptotic", comparators=())
    assert point.key_length is None
    assert point.pulses_sent is None
    assert point.acquisition_time_s is None
    assert point.p_z == 1.0


def test_g2_of_zero_and_its_uncertainty() -> None:
    (point,) = predict(SourceFigures.from_values(0.3, 0.0, g2_u=1e-3), loss_dB=5.0, comparators=())
    assert np.isfinite(point.rate_per_pulse_u)
    assert point.rate_per_pulse_u > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"loss_dB": -3.0}, "0 dB or more"),
        ({"loss_dB": float("nan")}, "0 dB or more"),
        ({"loss_dB": []}, "no loss"),
        ({"block": 0.0}, "at least 1"),
        ({"p_z": 1.0}, "less than 1"),
        ({"attenuation": 1.5}, "at most 1"),
        ({"protocol": "bb84"}, "efficient-bb84"),
        ({"accounting": "bob"}, "alice or joint"),
    ],
)
def test_options_out_of_range_are_named(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        predict(**wrong)  # type: ignore[arg-type]


def test_wrong_estimate_is_refused() -> None:
    n = Estimate(
        name="g2_zero",
        value=0.3,
        method="m",
    )
    with pytest.raises(UsageError, match="asked for mean_photon_number"):
        SourceFigures.from_estimates(n, n, n)


def test_with_decoy_the_lead_is_kept_at_every_loss() -> None:
    light = ("wcp-vacuum-weak-bb84",)
    for point in predict_with_decoy(loss_dB=[0.0, 14.6, 30.0, 40.0], comparators=light):
        assert (point.comparator(light[0]).advantage_dB or 0.0) > 1.8
        assert point.accounting == "decoy"
        # the lead is that of <n>: its error is the source's brightness error, and dark counts
        # add a little at 40 dB
        relative = point.rate_per_pulse_u / point.rate_per_pulse
        assert relative == pytest.approx(0.008 / 0.292, rel=0.15)


def test_endless_decoy_is_the_asymptotic_table() -> None:
    losses = [0, 10, 14.6, 20, 25, 30, 35, 40]
    published = [7.07e-2, 7.07e-3, 2.45e-3, 7.06e-4, 2.23e-4, 7.03e-5, 2.20e-5, 6.70e-6]
    found = predict_with_decoy(
        link=PAPERS_LINK, loss_dB=losses, block_kind="asymptotic", comparators=()
    )
    assert [p.rate_per_pulse for p in found] == pytest.approx(published, rel=1.5e-3)
    assert found[0].phase_error == pytest.approx(0.0254, rel=1e-3)


def test_three_photons_cost_and_are_limited() -> None:
    p3 = 0.00698 * 0.292**2 / 6
    few, many = (predict_with_decoy(loss_dB=20.0, p3_max=x, comparators=())[0] for x in (0.0, p3))
    assert 0 < many.rate_per_pulse < few.rate_per_pulse
    with pytest.raises(UsageError, match="p3_max"):
        predict_with_decoy(loss_dB=20.0, p3_max=2 * p3)
    with pytest.raises(UsageError, match="protocol"):
        predict_with_decoy(protocol="efficient-bb84")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs a block"):
        predict_with_decoy(protocol="three-state-decoy", block_kind="asymptotic")


def test_with_decoy_states_the_source_s_uncertainty_costs_little() -> None:
    """s1 = N t1 Y1 with t1 ~ n (1 - g2 n) and Y1 ~ 1/n: <n> cancels, g2 enters through g2 n.

    Near zero loss multi-photon pulses are given up instead, which costs a little more.
    """
    best, limited = (
        predict_with_decoy(loss_dB=[5.0, 14.6, 25.0], eps_source=e, comparators=())
        for e in (None, 1e-10)
    )
    for a, b, least in zip(best, limited, (0.95, 0.995, 0.995), strict=True):
        assert least < b.rate_per_pulse / a.rate_per_pulse < 1
        assert b.eps_source == 1e-10
        assert b.rate_per_pulse_u > 0
    without = [
        predict(loss_dB=14.6, eps_source=e, comparators=())[0].rate_per_pulse for e in (None, 1e-10)
    ]
    assert without[1] / without[0] < 0.7  # p2 at its limit costs far more without decoy states
    with pytest.raises(UsageError, match="eps_source"):
        predict_with_decoy(eps_source=0.7)
    with pytest.raises(UsageError, match="needs a block"):
        predict_with_decoy(eps_source=1e-5, block_kind="asymptotic")


def test_the_limit_of_pairs_counts_the_uncertainties_of_both() -> None:
    """p2 = g2 <n>^2 / 2: 0.02 x 0.3 x 0.01 = 6e-5 from <n>, 0.045 x 0.001 = 4.5e-5 from g2."""
    source = SourceFigures.from_values(0.3, 0.02, n_u=0.01, g2_u=0.001)
    assert source.multiphoton.value == pytest.approx(9e-4)
    assert source.multiphoton.u == pytest.approx(7.5e-5)  # 3, 4, 5
    # a normal distribution is beyond three standard deviations once in 741
    assert source.multiphoton_upper(0.00134990) == pytest.approx(9e-4 + 3 * 7.5e-5, rel=1e-5)
