from __future__ import annotations

import pytest

from qdchar.estimate import Contribution, Estimate
from qdchar.notation import concise, text


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


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot print"):
        concise(float("nan"), 1.0)
