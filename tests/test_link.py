from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from qdchar.errors import UsageError
from qdchar.link import Link, load_link


def write(folder: Path, text: str) -> Path:
    path = folder / "link.toml"
    path.write_text(text)
    return path


def test_the_default_is_the_paper_s_link() -> None:
    link = load_link(None)
    assert link == Link()
    assert link.receiver_efficiency == pytest.approx(0.4272)
    assert link.dark_count_probability == pytest.approx(1.4706e-7)
    secrecy = (
        link.epsilon_parameter_estimation
        + link.epsilon_privacy_amplification
        + link.epsilon_error_correction
    )
    assert secrecy == pytest.approx(1e-10)


def test_estimates_carry_what_the_file_gives(tmp_path: Path) -> None:
    link = load_link(
        write(
            tmp_path,
            "channel_loss = 10\n"
            "dark_count_rate = { value = 50.0, u = 5.0 }\n"
            "gate_width = { value = 2e-9, u = 1e-10 }\n",
        )
    )
    given = link.estimates()
    assert given["channel_loss"].value == 10
    assert given["channel_loss"].u == 0
    assert all(e.name == name for name, e in given.items())
    assert given["detector_efficiency"].method == "given (link file)"
    dark = given["dark_count_probability"]
    assert dark.value == pytest.approx(1e-7)
    assert dark.u == pytest.approx(1e-7 * (0.1**2 + 0.05**2) ** 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("detector_eficiency = 0.7", ["detector_eficiency", "Did you mean 'detector_efficiency'"]),
        ("channel_loss = -1", ["channel_loss", "-1", "0 dB or more"]),
        ("channel_loss = '14 dB'", ["channel_loss", "14 dB", "a number"]),
        ("detector_efficiency = 1.2", ["detector_efficiency", "at most 1"]),
        ("dark_count_rate = { value = 43, u = -1 }", ["dark_count_rate", "0 or more"]),
        ("dark_count_rate = { value = 43, sigma = 1 }", ["dark_count_rate.sigma", "value, u"]),
        ("dark_count_rate = -43", ["dark_count_rate", "0 Hz or more"]),
        ("gate_width = 3.42e9", ["gate_width in seconds"]),
        ("misalignment = 2.54", ["misalignment", "less than 0.5"]),
        ("receiver = 'Passive'", ["receiver", "'passive' or 'active'"]),
        ("block = 0", ["block", "positive"]),
        ("block = true", ["block", "a number"]),
        ("channel_loss = nan", ["channel_loss", "0 dB or more"]),
        ("channel_loss = ", ["not valid TOML"]),
    ],
)
def test_a_wrong_file_says_where_what_and_what_is_allowed(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_link(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_link(tmp_path / "none.toml")


def test_a_link_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Link().block = 1e9  # type: ignore[misc]
