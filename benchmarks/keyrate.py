"""How fast optimised key rates are, beside the programs that others use.

    python benchmarks/keyrate.py [--satquma CHECKOUT]

Peers: TNO's qkd_key_rate (``pip install tno.quantum.communication.qkd_key_rate``) where it is
installed, and a checkout of SatQuMA 2.0 (github.com/cnqo-qcomms/SatQuMA) where one is given. They
solve tasks of the same kind, not the same task: decoy BB84 at one point, optimised.
Ends with an error where a limit is missed. Nothing here uses a second core.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.advantage import advantage_map
from qdchar.keyrate.decoy.attenuated_source_finite import best_attenuator_key
from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.over_time import coherent_over_time, predict_over_time
from qdchar.link import Link

LOSSES = np.linspace(0, 20, 61)


def seconds(task: Callable[[], object], repeats: int = 5) -> float:
    """Least of some runs, after one to warm up."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def command_seconds(*words: str, repeats: int = 5) -> float:
    """Least processor time of some runs of a command, with its start-up."""

    def used() -> float:
        total = resource.getrusage(resource.RUSAGE_CHILDREN)
        return total.ru_utime + total.ru_stime

    times = []
    for _ in range(repeats + 1):  # the first warms up
        start = used()
        subprocess.run([sys.executable, "-m", "qdchar", *words], check=True, capture_output=True)
        times.append(used() - start)
    return min(times[1:])


def ours() -> list[tuple[str, float, float, float]]:
    """Task, seconds, seconds per optimised point, limit."""
    source, link = SourceFigures(), Link()
    given = LinkParameters.from_link(link, LOSSES)
    tasks: list[tuple[str, int, float, int, Callable[[], object]]] = [
        (
            "61 single-photon points, with uncertainty",
            61,
            0.1,
            5,
            lambda: predict(source, link, loss_dB=LOSSES, comparators=()),
        ),
        (
            "61 points with 2-decoy comparator",
            61,
            0.5,
            5,
            lambda: predict(
                source, link, loss_dB=LOSSES, comparators=("wcp-vacuum-weak-three-state",)
            ),
        ),
        ("61 points of 2-decoy coherent light", 61, 0.5, 5, lambda: best_coherent_key(given)),
        (
            "61 points of single photons with decoy",
            61,
            0.5,
            5,
            lambda: best_attenuator_key(0.292, 0.00698, given),
        ),
        (
            "100 x 100 map of Fig. 4a",
            10_000,
            10.0,
            1,
            lambda: advantage_map(
                np.logspace(-2, 0, 100),
                np.logspace(-4, -0.3, 100),
                link,
                loss_dB=0.0,
                comparator="wcp-vacuum-weak-three-state",
            ),
        ),
    ]
    slot_s = np.arange(600.0)
    of_pass = slot_s, 12 + ((slot_s - 300) / 80) ** 2, 200 + 40 * slot_s
    tasks += [
        ("pass of 600 slots", 1, 1.0, 3, lambda: predict_over_time(source, link, *of_pass)),
        (
            "its coherent light with 2 decoys",
            1,
            1.0,
            3,
            lambda: coherent_over_time(source, link, *of_pass),
        ),
    ]
    rows = []
    for name, points, limit, repeats, task in tasks:
        took = seconds(task, repeats)
        rows.append((name, took, took / points, limit))
    once = command_seconds("keyrate")
    rows.append(("`qdchar keyrate`, one loss, with start-up", once, once, 0.5))
    return rows


def tno() -> list[tuple[str, float]]:
    """Seconds per optimised point of TNO's package."""
    try:
        from tno.quantum.communication.qkd_key_rate.quantum import standard_detector
        from tno.quantum.communication.qkd_key_rate.quantum.bb84 import (
            BB84FiniteKeyRateEstimate,
            BB84FullyAsymptoticKeyRateEstimate,
        )
    except ImportError:
        return []
    detector = standard_detector.customise(
        dark_count_rate=1.47e-7,
        polarization_drift=0,
        error_detector=0.0254,
        efficiency_party=0.4272,
    )
    asymptotic = BB84FullyAsymptoticKeyRateEstimate(detector=detector)
    finite = BB84FiniteKeyRateEstimate(
        detector=detector, number_of_pulses=10**10, number_of_decoy=2
    )
    return [
        ("TNO, BB84, asymptotic", seconds(lambda: asymptotic.optimize_rate(attenuation=10.0), 3)),
        ("TNO, BB84, finite, 2 decoys", seconds(lambda: finite.optimize_rate(attenuation=10.0), 1)),
    ]


def satquma(checkout: Path) -> list[tuple[str, float]]:
    """Seconds per optimised point of SatQuMA's key length, one time slot, by its own COBYLA."""
    from scipy.optimize import minimize

    sys.path.insert(0, str(checkout.parent))
    package = __import__(f"{checkout.name}.key.protocols.key_efficient_BB84", fromlist=["key"])
    arguments = package.set_params(
        *(1.47e-7, 0.0254, 10.0, 0, 0.0, 0, 0.0, np.array([0.4272]), 1e10, "Chernoff"),
        *(1e-15, 1e-10, sys.float_info.epsilon, "block", 1.16, 1),
    )
    low, high = np.array([0.3, 0.6, 0.01, 0.3, 0.05]), np.array([1.0, 0.999, 0.4, 1.0, 0.3])

    def run() -> object:
        return minimize(
            package.key_length_inv,
            np.array([0.9, 0.8, 0.15, 0.5, 0.12]),
            args=(arguments,),
            method="COBYLA",
            constraints=[
                {"type": "ineq", "fun": lambda x: x - low},
                {"type": "ineq", "fun": lambda x: high - x},
                {"type": "ineq", "fun": lambda x: 1 - x[1] - x[2] - 1e-9},
            ],
            options={"rhobeg": 0.002, "maxiter": 1000},
        )

    return [("SatQuMA, efficient BB84, 2 decoys, one slot", seconds(run, 3))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--satquma", type=Path, help="folder of a SatQuMA checkout")
    options = parser.parse_args()
    rows = ours()
    print(f"{'task':<46}{'seconds':>9}{'limit':>8}{'ms/point':>10}")
    for name, took, per_point, limit in rows:
        print(f"{name:<46}{took:9.3f}{limit:8.1f}{1e3 * per_point:10.2f}")
    decoy = rows[2][2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peers = tno() + (satquma(options.satquma.resolve()) if options.satquma else [])
    for name, took in peers:
        ratio = took / decoy
        print(f"{name:<46}{took:9.3f}{'':8}{1e3 * took:10.2f}  {ratio:.0f} x 2-decoy point")
    missed = [name for name, took, _, limit in rows if took > limit]
    for name in missed:
        print(f"missed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
