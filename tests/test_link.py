from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.keyrate import KeyRate, SourceFigures, predict
from qdchar.link import Link, load_link
from qdchar.record import SourceRecord, make_record


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
        ("background_count_rate = -1", ["background_count_rate", "0 Hz or more"]),
        ("dead_time = 20", ["dead_time", "less than 1 s"]),
        ("detector_dark_shares = [0.5, 0.5]", ["detector_dark_shares"]),
        ("detector_dark_shares = [0.5, 0.5, 0.5, 0]", ["detector_dark_shares", "sum of 1"]),
        ("misalignment = 2.54", ["misalignment", "less than 0.5"]),
        ("receiver = 'Passive'", ["receiver", "'passive' or 'active'"]),
        ("block = 0", ["block", "at least 1"]),
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


@pytest.mark.parametrize(
    "line", ["receiver_z_probability = 0.8", "detector_dark_shares = [0.1, 0.1, 0.4, 0.4]"]
)
def test_what_an_active_receiver_does_not_use_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"is of a passive receiver.*leave it out"):
        load_link(write(tmp_path, f'receiver = "active"\n{line}\n'))
    whole = Link(receiver="active")  # a run's own file has all keys
    assert Link.model_validate_json(whole.model_dump_json()) == whole


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_link(tmp_path / "none.toml")


def test_a_link_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Link().block = 1e9  # type: ignore[misc]


SHARED = "a certificate of both"


def record(misalignment: float | None) -> SourceRecord:
    estimates = [
        Estimate(
            name="mean_photon_number",
            value=0.29,
            method="",
            budget=(Contribution(SHARED, 0.01, "B"),),
        ),
        Estimate(
            name="g2_zero",
            value=0.007,
            method="",
        ),
        Estimate(
            name="clock_rate",
            value=76e6,
            method="",
        ),
    ]
    if misalignment is not None:
        budget = (Contribution(SHARED, 1e-3, "B"), Contribution("counts", 2e-4))
        estimates.append(
            Estimate(
                name="misalignment",
                value=misalignment,
                method="",
                budget=budget,
            )
        )
    return make_record(
        estimates,
        qdchar_version="0",
        source="QD",
        station="lab",
        simulated=True,
        valid_for=timedelta(hours=1),
        tuning={},
    )


def rate(link: Link, held: SourceRecord) -> KeyRate:
    figures = [held.estimate(n) for n in ("mean_photon_number", "g2_zero", "clock_rate")]
    (point,) = predict(SourceFigures.from_estimates(*figures), link, loss_dB=10.0, comparators=())
    return point


def test_a_measured_misalignment_and_its_covariance_enter_the_rate() -> None:
    held = record(0.03)
    link = Link().measured_in(held)
    assert link.misalignment.value == 0.03
    point = rate(link, held)
    same = rate(Link(misalignment={"value": 0.03, "u": 1.02e-3}), held)
    assert point.rate_per_pulse == same.rate_per_pulse
    budget = {c.source: c.u for c in point.budget}
    apart = {c.source: c.u for c in same.budget}
    assert set(budget) == {SHARED, "counts"}
    # more photons raise the rate, more errors lower it: in one certificate they cancel in part
    from_counts = budget["counts"]
    assert from_counts < 0
    assert budget[SHARED] == pytest.approx(apart[SHARED] + 5.0 * from_counts, rel=1e-6)
    assert link.estimates()["misalignment"].method != Link().estimates()["misalignment"].method


def test_a_record_without_misalignment_leaves_the_link_as_it_is() -> None:
    assert Link().measured_in(record(None)) == Link()


def test_an_impossible_misalignment_is_refused() -> None:
    with pytest.raises(InconclusiveError, match=r"misalignment was measured as 0\.7"):
        Link().measured_in(record(0.7))


def test_a_channel_in_parts_is_their_sum_with_an_error_source_each(tmp_path: Path) -> None:
    parts = (
        "fibre = { value = 12.6, u = 0.3 }\nconnectors = { value = 1.2, u = 0.4 }\nfilter = 0.8\n"
    )
    link = load_link(write(tmp_path, f"[channel_parts]\n{parts}"))
    assert link.channel_loss.value == pytest.approx(14.6)
    assert link.channel_loss.u == pytest.approx(0.5)
    (point,) = predict(link=link, comparators=())
    u = {c.source: c.u for c in point.budget}
    assert u["link: connectors"] / u["link: fibre"] == pytest.approx(4 / 3)
    assert "link: filter" not in u
    assert Link.model_validate(link.model_dump()) == link
    with pytest.raises(UsageError, match="give one of the two"):
        load_link(write(tmp_path, f"channel_loss = 10.0\n[channel_parts]\n{parts}"))
    with pytest.raises(UsageError, match="u 0 or more"):
        load_link(write(tmp_path, "[channel_parts]\na = { value = 3.0, u = -1.0 }\n"))


def test_shares_and_failure_probabilities_add_up_from_their_own_parts() -> None:
    link = Link(
        detector_dark_shares=(0.1, 0.15, 0.35, 0.4),
        epsilon_parameter_estimation=3e-11,
        epsilon_privacy_amplification=5e-12,
        epsilon_error_correction=7e-13,
    )
    assert link.dark_count_share_z == pytest.approx(0.25)  # of the first two detectors
    assert link.epsilon_secrecy == pytest.approx(3.57e-11, rel=1e-9, abs=0.0)
