from __future__ import annotations

import numpy as np
import pytest

from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.monte_carlo import sample_rates
from qdchar.link import Constant, Link

SOURCE, LINK = SourceFigures(), Link()


@pytest.mark.parametrize("loss", [0.0, 5.0, 10.0])
def test_linear_and_monte_carlo_agree_where_the_rate_is_smooth(loss: float) -> None:
    drawn = sample_rates(SOURCE, LINK, draws=4000, rng=np.random.default_rng(7), loss_dB=loss)
    (linear,) = predict(SOURCE, LINK, loss_dB=loss, comparators=())
    # 4000 draws know a standard deviation to 1.1 %
    assert drawn.u == pytest.approx(linear.rate_per_pulse_u, rel=0.05)
    assert drawn.mean == pytest.approx(linear.rate_per_pulse, rel=0.005)
    low, high = drawn.interval()
    assert (high - low) / 2 == pytest.approx(linear.rate_per_pulse_u, rel=0.06)
    assert drawn.rejected == 0


def test_link_errors_are_drawn_too() -> None:
    link = Link(
        channel_loss=Constant(value=8.0, u=0.2),
        detector_efficiency=Constant(value=0.7, u=0.01),
        misalignment=Constant(value=0.025, u=0.002),
    )
    drawn = sample_rates(SOURCE, link, draws=4000, rng=np.random.default_rng(8))
    (linear,) = predict(SOURCE, link, comparators=())
    assert drawn.u == pytest.approx(linear.rate_per_pulse_u, rel=0.05)


def test_probability_of_beating_a_comparator() -> None:
    """At the crossing it is a coin's; far from it, certain."""
    name = "wcp-vacuum-weak-three-state"
    rng = np.random.default_rng(9)
    chances = [
        sample_rates(
            SOURCE, LINK, draws=1000, rng=rng, loss_dB=loss, comparators=(name,)
        ).probability_of_beating(name)
        for loss in (5.0, 17.93, 22.0)
    ]
    assert chances[0] == 1
    assert 0.4 < chances[1] < 0.6
    assert chances[2] == 0


def test_near_the_cutoff_some_draws_have_no_key_and_none_is_negative() -> None:
    drawn = sample_rates(SOURCE, LINK, draws=500, rng=np.random.default_rng(1), loss_dB=29.6)
    assert 0 < drawn.probability_of_key() < 1
    assert drawn.rates.min() == 0


def test_impossible_draws_are_left_out_and_counted() -> None:
    barely = SourceFigures.from_values(0.3, 0.001, g2_u=0.001)
    drawn = sample_rates(barely, LINK, draws=2000, rng=np.random.default_rng(2), loss_dB=5.0)
    assert drawn.rejected == pytest.approx(0.159, abs=0.03)  # one-sided, 1 sigma
    assert len(drawn.rates) == round(2000 * (1 - drawn.rejected))


def test_the_one_sided_limit_is_below_nearly_all_draws() -> None:
    """With p2 at its 5 % limit, at most about 5 % of the true sources would give less."""
    limited, best = (
        predict(SOURCE, LINK, loss_dB=14.6, eps_source=e, comparators=())[0] for e in (0.05, None)
    )
    drawn = sample_rates(SOURCE, LINK, draws=3000, rng=np.random.default_rng(3), loss_dB=14.6)
    assert limited.rate_per_pulse < best.rate_per_pulse
    assert limited.p2 > best.attenuation**2 * 0.0002
    assert np.mean(drawn.rates < limited.rate_per_pulse) < 0.08
    strict = predict(SOURCE, LINK, loss_dB=14.6, eps_source=1e-10, comparators=())[0]
    assert 0 < strict.rate_per_pulse < limited.rate_per_pulse
