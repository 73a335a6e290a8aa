from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate, covariance
from qdchar.record import SourceRecord, load_record, make_record
from qdchar.report.comparison import compare_records

_SHARED = Contribution("calibration detector_efficiency", 0.0073, "B")
_N = Estimate(
    name="mean_photon_number",
    value=0.292,
    method="live gating",
    plane="transmitter output",
    budget=(Contribution("counting", 0.0004), _SHARED),
)
_G2 = Estimate(
    name="g2_zero",
    value=0.00698,
    method="live gating",
    budget=(Contribution("pairs", 0.0003),),
    interval_68=(0.0067, 0.0073),
    interval_95=(0.0064, 0.0076),
)


def _record(**changes: Any) -> SourceRecord:
    given: dict[str, Any] = {
        "qdchar_version": "0",
        "source": "QD7",
        "station": "lab",
        "simulated": False,
        "valid_for": timedelta(hours=24),
        "tuning": {"cavity_fine_V": 31.2, "light_path": "after"},
    }
    return make_record([_N, _G2], **{**given, **changes})


def test_a_record_comes_back_with_its_covariance(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    _record().write(file)
    read = load_record(file)
    assert [read.estimate(n) for n in read.quantities] == [_N, _G2]
    assert covariance([read.estimate("g2_zero"), read.estimate("mean_photon_number")]) == (
        pytest.approx(covariance([_G2, _N]))
    )


def test_the_json_holds_value_u_unit_and_correlation(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    _record().write(file)
    data = json.loads(file.read_text())
    assert data["schema"] == "qdchar/source-record/3"
    figure = data["quantities"]["mean_photon_number"]
    assert (figure["value"], figure["unit"]) == (0.292, "1")
    assert figure["u"] == pytest.approx(np.hypot(0.0004, 0.0073))
    assert data["correlation"] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("quantities", "g2_zero", "value"), "high", "quantities.g2_zero.value"),
        (("quantities", "g2_zero", "value"), None, "quantities.g2_zero.value"),
        (("quantities", "g2_zero", "u"), -0.1, "g2_zero.u: .*greater than or equal to 0"),
        (("quantities", "g2_zero", "value"), 1e300, "quantities.g2_zero.value.*at most"),
        (("quantities", "g2_zero", "u"), 0.1, "budget adds up"),
        (("quantities", "g2_zero", "unit"), "Hz", "unit"),
        (("quantities", "g3_zero"), {}, "g3_zero"),
        (("created",), "yesterday", "created"),
        (("schema",), "qdchar/source-record/9", "schema"),
        (("colour",), "red", "colour"),
    ],
)
def test_an_invalid_record_names_the_field(
    tmp_path: Path, path: tuple[str, ...], value: object, says: str
) -> None:
    file = tmp_path / "record.json"
    _record().write(file)
    data = json.loads(file.read_text())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=says):
        load_record(file)


def test_a_stale_record_is_refused_and_names_the_field(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    _record().write(file)
    later = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(RecordError, match="valid_until"):
        load_record(file, now=later)
    assert load_record(file, now=later, stale_ok=True).source == "QD7"


@pytest.mark.parametrize(("taken_over_h", "valid_h"), [(3.0, 3.0), (50.0, 24.0)])
def test_a_record_is_valid_no_longer_than_what_was_taken_over(
    taken_over_h: float, valid_h: float
) -> None:
    until = datetime.now(UTC) + timedelta(hours=taken_over_h)
    made = _record(valid_until=until)
    hours = (made.valid_until - made.created).total_seconds() / 3600.0
    assert hours == pytest.approx(valid_h, abs=0.01)


def test_a_missing_figure_is_an_error_that_lists_what_is_there() -> None:
    with pytest.raises(RecordError, match="holds no lifetime; it holds mean_photon_number"):
        _record().estimate("lifetime")


def test_a_comparison_keeps_the_shared_certificate_out() -> None:
    first, second = _record(), _record()
    change = {c.name: c for c in compare_records(first, second)}["mean_photon_number"]
    assert change.u == pytest.approx(np.sqrt(2) * 0.0004)


def test_the_published_schema_is_the_one_in_force() -> None:
    file = Path(__file__).parents[1] / "docs" / "source-record.schema.json"
    published = json.loads(file.read_text(encoding="utf-8"))
    current = SourceRecord.model_json_schema(mode="serialization")
    # field by field: pydantic's versions word the rest differently
    pairs = [(published, current)] + [
        (published["$defs"][name], part) for name, part in current["$defs"].items()
    ]
    for theirs, ours in pairs:
        assert set(theirs["properties"]) == set(ours["properties"])
        assert set(theirs["required"]) == set(ours["required"])


_SCHEMA_1 = """{
 "schema": "qdchar/source-record/1", "qdchar_version": "0.9", "source": "QD7", "station": "lab",
 "simulated": false, "created": "2026-01-05T09:00:00Z", "valid_until": "2026-01-06T09:00:00Z",
 "tuning": {}, "quantities": {
  "lifetime": {
   "value": 7.6e-11, "u": 5e-13, "unit": "s", "definition": "1/e decay time", "method": "fit",
   "budget": [
    {"source": "looks of the loop", "u": 3e-13, "kind": "A"},
    {"source": "way between visits", "u": 4e-13, "kind": "B"}
   ]},
  "g2_zero": {
   "value": 0.007, "u": 0.0005, "unit": "1", "definition": "g2(0)", "method": "live gating",
   "budget": [
    {"source": "photons that come together, hbt_after.h5", "u": 0.0003, "kind": "B"},
    {"source": "coincidences, hbt_after.h5", "u": 0.0004, "kind": "A"}
   ]}
 }
}"""


def test_error_sources_of_schema_1_come_under_their_present_names(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text(_SCHEMA_1, encoding="utf-8")
    with pytest.raises(RecordError, match=r"digest: missing \(schema qdchar/source-record/1\)"):
        load_record(file, stale_ok=True)
    record = load_record(file, accept=True)
    assert [(c.source, c.u) for c in record.estimate("lifetime").budget] == [
        ("peak-lock readout", 3e-13),
        ("drift between re-locks", 4e-13),
    ]
    assert [c.source for c in record.estimate("g2_zero").budget] == [
        "two photons on one detector, hbt_after.h5",
        "coincidences, hbt_after.h5",
    ]
    # correlated with a record of today through the source that they share
    today = Estimate(
        name="lifetime",
        value=7.6e-11,
        method="",
        budget=(Contribution("peak-lock readout", 3e-13, "A"),),
    )
    assert covariance([record.estimate("lifetime"), today])[0, 1] == pytest.approx(9e-26)
