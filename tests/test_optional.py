"""What a calibration does about measurements that a lab cannot make."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from qdchar.errors import InconclusiveError, InstrumentError
from qdchar.estimate import Estimate
from qdchar.lab.calibrate import BY_THEMSELVES, OPTIONAL, _key_figures, _make_optional
from qdchar.lab.session import MEASUREMENTS

ROLES = ("modulator", "analyser", "interferometer_phase", "interferometer_polarisation")


class Session:
    """As much of a session as is asked for: it makes nothing, and says what it was told."""

    def __init__(self, roles=ROLES, calibrations=(), error: Exception | None = None) -> None:
        file = SimpleNamespace(roles=dict.fromkeys(roles), calibrations=dict.fromkeys(calibrations))
        self.station = SimpleNamespace(file=file)
        self.said: list[str] = []
        self.display = SimpleNamespace(say=self.said.append)
        self.problems: list[str] = []
        self.made: list[str] = []
        self._error = error

    def make(self, name: str) -> None:
        self.made.append(name)
        if self._error is not None:
            raise self._error


def test_what_the_station_lacks_is_named_and_left_out() -> None:
    session = Session(roles=("modulator",))
    for name in OPTIONAL:
        _make_optional(session, name)
    assert not session.made
    assert session.said[OPTIONAL.index("misalignment")].endswith("has no roles.analyser")
    assert "calibrations.laser_path_attenuation" in session.said[0]
    assert not session.problems


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_inconclusive_one_does_not_lose_the_others(name: str) -> None:
    needs = MEASUREMENTS[name].calibrations
    session = Session(calibrations=needs, error=InconclusiveError("too faint"))
    _make_optional(session, name)
    assert session.made == [name]
    assert "NOT MEASURED: too faint" in session.said[-1]
    # a key rate must not rest on a figure that could not be measured without it being said
    assert bool(session.problems) is (name not in BY_THEMSELVES)


def test_an_instrument_that_fails_is_no_matter_of_choice() -> None:
    session = Session(error=InstrumentError("cable"))
    with pytest.raises(InstrumentError):
        _make_optional(session, "misalignment")


def test_no_key_rate_is_made_of_a_g2_below_zero() -> None:
    figures = {"mean_photon_number": 2.4e-4, "g2_zero": -0.0067, "clock_rate": 76.13e6}
    record = SimpleNamespace(
        estimate=lambda name: Estimate(
            name=name,
            value=figures[name],
            method="",
        )
    )
    with pytest.raises(InconclusiveError, match="record longer"):
        _key_figures(record)
