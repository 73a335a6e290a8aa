from __future__ import annotations

import pytest

from qdchar.estimate import Contribution, Estimate
from qdchar.notation import age_text, concise, interval_text, number_text, text


@pytest.mark.parametrize(
    ("value", "u", "expected"),
    [
        (0.712, 0.018, "0.712(18)"),
        (0.00698, 0.00064, "6.98(64)e-3"),
        (23.9, 0.0996, "23.90(10)"),
        (1234.0, 56.0, "1234(56)"),
        (123456.0, 2345.0, "123500(2300)"),
        (-0.002, 0.003, "-2.0(30)e-3"),
        (14.6, 0.0, "14.6"),
    ],
)
def test_concise(value: float, u: float, expected: str) -> None:
    assert concise(value, u) == expected


def test_a_unit_takes_a_prefix() -> None:
    lifetime = Estimate(
        name="lifetime", value=75.83e-12, method="", budget=(Contribution("c", 0.45e-12),)
    )
    assert text(lifetime) == "75.83(45) ps"


@pytest.mark.parametrize(
    ("value", "u", "expected"),
    [
        (76.12999868e6, 0.4, "76.13000 MHz"),
        (76.12988676e6, 76.0, "76.129887(76) MHz"),
        (76.12988676e6, 9.9, "76.12989 MHz"),
    ],
)
def test_no_more_digits_than_a_reader_can_use(value: float, u: float, expected: str) -> None:
    clock = Estimate(name="clock_rate", value=value, method="", budget=(Contribution("c", u),))
    assert text(clock) == expected


def test_a_pure_number_close_to_1_has_7_digits() -> None:
    ratio = Estimate(
        name="linewidth_ratio", value=1.00000068, method="", budget=(Contribution("c", 3.5e-7),)
    )
    assert text(ratio) == "1.000001"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot print"):
        concise(float("nan"), 1.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00705901, "7.059e-3"),
        (1.47e-7, "1.47e-7"),
        (0.712345, "0.7123"),
        (76.13, "76.13"),
        (43.0, "43"),
        (123456.0, "123500"),
        (0.0, "0"),
        (-2.0, "-2"),
    ],
)
def test_a_number_without_uncertainty_has_four_digits(value: float, expected: str) -> None:
    assert concise(value, 0.0) == expected


def _lifetime(value: float, u: float) -> Estimate:
    return Estimate(name="lifetime", value=value, method="", budget=(Contribution("c", u),))


def test_a_value_within_its_error_of_zero_takes_the_prefix_of_the_error() -> None:
    assert text(_lifetime(0.0, 3e-12)) == "0.0(30) ps"
    assert text(_lifetime(-4e-16, 3.1e-12)) == "-0.0(31) ps"
    assert concise(-2e-5, 3e-3) == "-0.0(30)e-3"


def test_an_interval_has_the_unit_of_its_estimate_and_the_digits_of_its_width() -> None:
    # 95 % of 75.8(5) ps is 75.8 -+ 1.0 ps; its quarter width 0.5 ps shows to two digits
    lifetime = _lifetime(75.8e-12, 0.5e-12)
    assert interval_text(lifetime, (74.8e-12, 76.8e-12)) == "[74.80, 76.80] ps"
    g2 = Estimate(name="g2_zero", value=0.007, method="", budget=(Contribution("c", 6e-4),))
    assert interval_text(g2, (0.00578, 0.00826)) == "[5.78, 8.26]e-3"
    assert interval_text(g2, (0.007, 0.007)) == "[7, 7]e-3"


def test_a_limit_has_a_prefix_and_a_unit() -> None:
    assert number_text(884.5e-9, "m") == "884.5 nm"
    assert number_text(14.6, "dB") == "14.6 dB"
    assert number_text(0.05, "1") == "0.05"


def test_an_age_is_in_minutes_below_an_hour() -> None:
    assert [age_text(hours) for hours in (0.25, 0.99, 1.0, 30.04)] == [
        *("15 min", "59 min", "1.0 h", "30.0 h")
    ]
