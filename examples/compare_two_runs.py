"""Did the source change since yesterday, or is it noise? What two runs share cancels."""

from __future__ import annotations

import sys
from datetime import timedelta

import matplotlib.pyplot as plt

from qdchar.estimate import Contribution, Estimate
from qdchar.notation import text
from qdchar.record import SourceRecord, make_record
from qdchar.report.comparison import compare_records


def day(number: int, brightness: float, g2: float) -> SourceRecord:
    """A record, as `qdchar.load_record(RUN)` reads it from a run."""
    certificate = Contribution("calibration detector_efficiency", 0.025 * brightness, "B")
    counting = Contribution(f"photon counting, day {number}", 0.002 * brightness, "A")
    pairs = Contribution(f"coincidences, day {number}", 0.0004, "A")
    found = [
        Estimate(
            name="mean_photon_number", value=brightness, method="", budget=(certificate, counting)
        ),
        Estimate(name="g2_zero", value=g2, method="", budget=(pairs,)),
    ]
    return make_record(
        found,
        qdchar_version="",
        source="QD7",
        station="our lab",
        simulated=True,
        valid_for=timedelta(hours=24),
        tuning={},
        raw={},
    )


changes = compare_records(day(1, 0.292, 0.0070), day(2, 0.286, 0.0073))
for change in changes:
    print(
        f"{change.first.quantity.words}: {text(change.first)} -> {text(change.second)}, "
        f"change / u = {change.pull:+.1f}"
    )
# 2 % of brightness is less than its uncertainty of 2.5 %, but the certificate is the same
assert abs(changes[0].pull or 0) > 5 > 2 > abs(changes[1].pull or 0)
if len(sys.argv) > 1:
    plt.figure(layout="constrained")
    plt.barh([c.first.quantity.words for c in changes], [c.pull or 0 for c in changes])
    plt.xlabel("change over its standard uncertainty")
    plt.savefig(sys.argv[1])
