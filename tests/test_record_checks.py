"""Contradictions in a record, each with the field that it names; what may be used, and what not."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qdchar import __version__
from qdchar.analysis.brightness import photon_numbers
from qdchar.cli import run
from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate
from qdchar.record import RawFile, load_record, make_record
from qdchar.verdict import Decision, Demand, PredictedLead, PredictedRate, Verdict

Edit = Callable[[dict[str, Any]], None]
N, G2, CLOCK, RATE = 0.31, 0.0125, 80e6, 2.5e-4
KEPT = Demand.of("a key rate above 1e-4", "key rate 2.5e-4", 1.5e-4, 1e-5)
BROKEN = Demand.of("g2(0) at most 0.01", "g2(0) 0.0125(5)", -0.0025, 0.0005)
OPEN = Demand.of("g2(0) at most 0.013", "g2(0) 0.0125(5)", 0.0005, 0.0005)


def estimate(name: str, value: float, u: float, **more: Any) -> Estimate:
    budget = (Contribution(f"{name} counts", 0.6 * u), Contribution("shared", 0.8 * u, "B"))
    return Estimate(name=name, value=value, method="counted", budget=budget, **more)


def predicted(rate: float = RATE) -> PredictedRate:
    # 10 log10 of 10 and of 1/10: numbers that need no program
    lead = {
        "wcp-ideal": PredictedLead(10 * rate, -10.0, 0.1),
        "wcp-one-decoy-bb84": PredictedLead(rate / 10, 10.0, 0.2),
    }
    return PredictedRate(
        14.6, "efficient-bb84", "alice", 1e8, "received", rate, 1e-5, rate * CLOCK, lead
    )


def content(
    decision: Decision = "GO", demands: tuple[Demand, ...] = (KEPT,), problems: tuple[str, ...] = ()
) -> dict[str, Any]:
    """JSON of a record that is in order."""
    n = estimate("mean_photon_number", N, 0.004, plane="transmitter output")
    g2 = estimate(
        "g2_zero",
        G2,
        0.0005,
        plane="transmitter output",
        interval_68=(0.0119, 0.0130),
        interval_95=(0.0115, 0.0136),
    )
    record = make_record(
        [n, g2, *photon_numbers(n, g2), estimate("clock_rate", CLOCK, 1.0)],
        qdchar_version=__version__,
        source="QD7",
        station="lab µ",
        simulated=False,
        valid_for=timedelta(hours=24),
        tuning={"cavity_fine_V": 31.2},
        raw=[RawFile(file="raw/rabi.csv", sha256="0" * 64)],
        problems=problems,
    )
    judged = record.judged(Verdict(decision, ("a reason",), demands, predicted()), ("assumed",))
    data: dict[str, Any] = json.loads(judged.model_dump_json(by_alias=True))
    return data


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """Give an edited record the digest of its content, as a program that knows the rule would."""
    rest = {k: v for k, v in data.items() if k != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def write(folder: Path, data: dict[str, Any]) -> Path:
    file = folder / "record.json"
    file.write_text(json.dumps(data, indent=1))
    return file


def put(path: str, value: object) -> Edit:
    """Return the edit that puts a value at a path such as ``quantities.p2.u``."""
    *parents, last = path.split(".")

    def edit(data: dict[str, Any]) -> None:
        inner: Any = data
        for key in parents:
            inner = inner[int(key) if key.isdigit() else key]
        inner[int(last) if last.isdigit() else last] = value

    return edit


def soon(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


# p1 = n - g2 n^2, p2 = g2 n^2 / 2 with n = 0.31 and g2 = 0.0125: 0.30879875 and 0.000600625
CONTRADICTIONS: list[tuple[str, Edit, str]] = [
    ("p1", put("quantities.p1.value", 0.3088), "quantities.p1.value: is 0.3088"),
    ("p2", put("quantities.p2.value", 0.000600725), "quantities.p2.value"),
    ("n", put("quantities.mean_photon_number.value", 0.32), "quantities.p1.value"),
    ("u", put("quantities.g2_zero.u", 0.001), "quantities.g2_zero.u: is 0.001"),
    ("budget", put("quantities.p1.budget.0.u", 1.0), "quantities.p1.u"),
    ("negative u", put("quantities.g2_zero.u", -0.0005), "quantities.g2_zero.u"),
    ("u is text", put("quantities.g2_zero.u", "small"), "quantities.g2_zero.u"),
    ("not finite", put("quantities.g2_zero.value", 1e400), "quantities.g2_zero.value"),
    ("68 off the value", put("quantities.g2_zero.interval_68", [0.0126, 0.013]), "interval_68"),
    ("95 off the value", put("quantities.g2_zero.interval_95", [0.013, 0.0136]), "interval_95"),
    ("ends turned", put("quantities.g2_zero.interval_68", [0.013, 0.0119]), "interval_68"),
    ("68 beyond 95", put("quantities.g2_zero.interval_68", [0.0114, 0.013]), "within interval_95"),
    ("one end", put("quantities.g2_zero.interval_68", [0.0119]), "quantities.g2_zero.interval_68"),
    ("unit", put("quantities.clock_rate.unit", "MHz"), "clock_rate: unit"),
    ("definition", put("quantities.g2_zero.definition", "dip"), "quantities.g2_zero.definition"),
    ("plane", put("quantities.g2_zero.plane", "fibre"), "quantities.g2_zero.plane"),
    ("correlation's shape", put("correlation", [[1.0]]), "correlation: is not a matrix of 5 x 5"),
    ("a row of it", put("correlation.1", [1.0, 0.64]), "correlation: is not a matrix"),
    ("text in it", put("correlation.0.1", "strong"), "correlation: is not a matrix"),
    ("none", put("correlation", None), "correlation: is not a matrix"),
    ("asymmetric", put("correlation.0.1", 0.5), "correlation: is not symmetric"),
    ("beyond 1", put("correlation.0.1", 1.01), "correlation: has an entry beyond 1"),
    ("diagonal", put("correlation.2.2", 0.9), "correlation[2][2]: is 0.9"),
    ("no zone", put("created", "2026-01-05T09:00:00"), "created"),
    ("in the future", put("created", soon(hours=3)), "created"),
    ("ends early", put("valid_until", "2020-01-01T00:00:00Z"), "valid_until: is not after created"),
    ("hash", put("raw.0.sha256", "0" * 63), "raw.0.sha256"),
    ("hash in capitals", put("raw.0.sha256", "A" * 64), "raw.0.sha256"),
    ("out of the folder", put("raw.0.file", "raw/../../passwd"), "raw.0.file"),
    ("schema", put("schema", "qdchar/source-record/4"), "schema"),
    ("GO with a problem", put("problems", ["dark"]), "verdict.decision: is GO"),
    ("GO turned", put("verdict.decision", "NO-GO"), "verdict.decision: is NO-GO"),
    ("no such verdict", put("verdict.decision", "MAYBE"), "verdict.decision"),
    ("a demand's state", put("verdict.demands.0.margin", -1.5e-4), "verdict.demands[0].state"),
    ("a demand broken", put("verdict.demands.0.state", "broken"), "verdict.demands[0].state"),
    ("no rate", put("verdict.rate", None), "verdict.rate: missing"),
    ("rate", put("verdict.rate.rate_per_pulse", 1.5 * RATE), "verdict.rate.rate_bps"),
    ("bits a second", put("verdict.rate.rate_bps", RATE), "verdict.rate.rate_bps"),
    (
        "lead turned",
        put("verdict.rate.comparators.wcp-ideal.advantage_dB", 10.0),
        "verdict.rate.comparators.wcp-ideal.advantage_dB",
    ),
    ("negative rate", put("verdict.rate.rate_per_pulse", -1e-4), "verdict.rate.rate_per_pulse"),
    ("unknown key", put("verdict.colour", "green"), "verdict.colour"),
]


@pytest.mark.parametrize(
    ("edit", "says"), [c[1:] for c in CONTRADICTIONS], ids=[c[0] for c in CONTRADICTIONS]
)
def test_a_contradiction_names_its_field(tmp_path: Path, edit: Edit, says: str) -> None:
    data = content()
    edit(data)
    with pytest.raises(RecordError) as caught:
        load_record(write(tmp_path, sealed(data)))
    assert says in str(caught.value)
    assert "digest" not in str(caught.value)


def test_a_record_in_order_has_nothing_against_it(tmp_path: Path) -> None:
    record = load_record(write(tmp_path, content()))
    assert record.objections == ()
    assert record.verdict is not None
    assert record.verdict.rate == predicted()
    assert record.verdict.demands == (KEPT,)
    assert record.assumptions == ("assumed",)


def test_the_digest_is_the_one_that_the_rule_gives() -> None:
    data = content()
    assert data == sealed(data)


def test_any_edit_without_a_new_digest_is_seen(tmp_path: Path) -> None:
    for edit in (
        put("source", "QD8"),
        put("verdict.reasons.0", "better"),
        put("assumptions", []),
        put("tuning.cavity_fine_V", 31.3),
        put("raw.0.sha256", "1" * 64),
        put("digest", "0" * 64),
    ):
        data = content()
        edit(data)
        with pytest.raises(RecordError, match=r"digest: is not that of the content"):
            load_record(write(tmp_path, data))


def test_several_faults_are_all_named(tmp_path: Path) -> None:
    data = content()
    put("quantities.p1.value", 0.5)(data)
    put("problems", ["dark"])(data)
    record = load_record(write(tmp_path, data), accept=True)
    assert [o.field for o in record.faults] == ["digest", "quantities.p1.value", "verdict.decision"]


def test_clocks_may_differ_by_some_minutes(tmp_path: Path) -> None:
    data = content()
    put("created", soon(minutes=3))(data)
    assert load_record(write(tmp_path, sealed(data))).objections == ()
    put("created", soon(minutes=7))(data)
    with pytest.raises(RecordError, match=r"created: .* is in the future"):
        load_record(write(tmp_path, sealed(data)))


@pytest.mark.parametrize(
    ("name", "value", "u", "kept"),
    [
        ("g2_zero", -0.001, 0.0005, True),  # more dark counts than coincidences, by chance
        ("g2_zero", -0.0025, 0.0005, False),
        ("detector_efficiency", 1.03, 0.01, True),
        ("detector_efficiency", 1.05, 0.01, False),
        ("dark_count_rate", -5.0, 1.0, False),
        ("brightness_drift", -5.0, 1.0, True),  # has either sign
    ],
)
def test_what_is_impossible_by_four_u_is_a_contradiction(
    tmp_path: Path, name: str, value: float, u: float, kept: bool
) -> None:
    file = tmp_path / "record.json"
    record_of(estimate(name, value, u)).write(file)
    against = load_record(file, accept=True).objections
    assert [o.field for o in against] == ([] if kept else [f"quantities.{name}.value"])


def record_of(*estimates: Estimate) -> Any:
    return make_record(
        estimates,
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=False,
        valid_for=timedelta(hours=1),
        tuning={},
    )


@pytest.mark.parametrize(
    "held",
    [
        # as analysis makes them: what is not possible is not in the interval, the value may be
        estimate("gate_captured_fraction", 1.0000007, 3.5e-7, interval_95=(0.9999993, 1.0)),
        estimate("phase_visibility", 0.0, 5e-4, interval_68=(1e-5, 6e-4), interval_95=(0.0, 1e-3)),
        estimate("visibility", 0.999, 0.004, interval_68=(0.9935, 0.998)),
    ],
)
def test_near_a_bound_an_interval_may_exclude_the_value(tmp_path: Path, held: Estimate) -> None:
    file = tmp_path / "record.json"
    record_of(held).write(file)
    assert load_record(file).objections == ()


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, content())
    file.write_text(file.read_text().replace('"source": "QD7"', '"source": "QD8", "source": "QD7"'))
    with pytest.raises(RecordError, match="the key 'source' stands twice"):
        load_record(file, accept=True)


LATER = datetime.now(UTC) + timedelta(hours=25)


def nothing(data: dict[str, Any]) -> None:
    """Leave a record as it is."""


def no_digest(data: dict[str, Any]) -> None:
    del data["digest"]


def stale(data: dict[str, Any]) -> None:
    data["created"], data["valid_until"] = "2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"
    data["digest"] = sealed(data)["digest"]


PROBLEM = content("INCONCLUSIVE", problems=("dark",))
NOT_TO_BE_USED = [
    pytest.param(content("NO-GO", (KEPT, BROKEN)), nothing, "verdict.decision: NO-GO", id="no-go"),
    pytest.param(content("INCONCLUSIVE", (OPEN,)), nothing, "INCONCLUSIVE", id="undecided"),
    pytest.param(
        content("INCONCLUSIVE", problems=("dark",)), nothing, "INCONCLUSIVE", id="problem"
    ),
    pytest.param(content(), stale, "valid_until: stale since 2026-01-06 09:00", id="stale"),
    pytest.param(content(), put("source", "QD8"), "digest: is not that", id="edited"),
    pytest.param(content(), no_digest, "digest: missing", id="no digest"),
]


@pytest.mark.parametrize(("data", "edit", "says"), NOT_TO_BE_USED)
def test_commands_refuse_what_is_not_to_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: dict[str, Any], edit: Edit, says: str
) -> None:
    data = copy.deepcopy(data)
    edit(data)
    (tmp_path / "a").mkdir()
    file = str(write(tmp_path / "a", data))
    asymptotic = ["--block-kind", "asymptotic", "--attenuation", "1", "--p-z", "0.9"]  # quick
    figures = ["figures", "fig1", "--out", str(tmp_path), "--record", file]
    for command in (["keyrate", file, *asymptotic], ["compare", file, file], figures):
        assert run(command) == 30
        told = capsys.readouterr()
        assert says in told.err
        assert told.out == ""
    for command in (["keyrate", file, *asymptotic], ["compare", file, file]):
        assert run([*command, "--accept"]) == 0
        assert f"warning: {file}: " in (err := capsys.readouterr().err)
        assert says in err
    # history is for looking at: it shows them all, marked
    table = tmp_path / "history.csv"
    assert run(["history", str(tmp_path), "--csv", str(table), "--json"]) == 0
    told = capsys.readouterr()
    assert says in told.out
    assert "\n* 20" in told.out
    (shown,) = json.loads(told.out.splitlines()[-1])["runs"]
    assert says in "; ".join(shown["objections"])
    assert says in table.read_text()


def test_a_stale_record_alone_may_be_accepted_by_name(tmp_path: Path) -> None:
    file = write(tmp_path, content())
    assert load_record(file, now=LATER, stale_ok=True).objections[0].kind == "stale"
    with pytest.raises(RecordError, match=r"valid_until: stale"):
        load_record(file, now=LATER)
    file = write(tmp_path, content("NO-GO", (BROKEN,)))
    with pytest.raises(RecordError, match=r"NO-GO: a reason$"):
        load_record(file, now=LATER, stale_ok=True)


def test_accept_without_a_record_is_a_usage_error() -> None:
    assert run(["keyrate", "--accept"]) == 2
