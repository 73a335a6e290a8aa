"""Does a search for the best settings find the last key there is? Small blocks, up to the reach.

    python validation/keyrate_near_reach.py [links]

Where keys end, settings that give one are a small part of the search box. For each protocol, random
links with small blocks, all losses in steps of 0.5 dB; the optimum beside that of a search with
hundreds of times the effort. Prints the smallest ratio of the two, how many losses have less than
0.999, and the largest difference in reach.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from keyrate_differential_evolution import PROTOCOLS as KNOWN
from keyrate_differential_evolution import attenuator

from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.optimise import Effort
from qdchar.link import Link

LOSS_DB = np.arange(0.0, 45.0, 0.5)
THOROUGH = Effort(samples=16384, starts=200, steps=12, last_steps=16, chunk=8)


PROTOCOLS = {**KNOWN, "single photons with decoy, 3 states": attenuator("lt")}


def random_link(rng: np.random.Generator) -> tuple[LinkParameters, float, float]:
    """Draw a link at all losses, and a source."""
    n, g2 = rng.uniform(0.02, 0.9), 10 ** rng.uniform(-4, -1)
    kind = "sent" if rng.integers(2) else "received"
    block = 10 ** (rng.uniform(6.5, 9.5) if kind == "sent" else rng.uniform(4.5, 7.5))
    at_once = LinkParameters.from_link(Link(block_kind=kind), 0.0)
    given = replace(
        at_once,
        eta=at_once.eta * 10 ** (-0.1 * LOSS_DB),
        block=np.full(len(LOSS_DB), block),
        e_mis=np.asarray(rng.uniform(0, 0.06)),
        p_dark=np.asarray(10 ** rng.uniform(-9, -5.5)),
        active=bool(rng.integers(2)),
    )
    return given, n, g2


def main(links: int) -> None:
    """Compare on some random links with each protocol."""
    for name, (_, best, *_) in PROTOCOLS.items():
        rng = np.random.default_rng(43)
        ratios, short, keys = [1.0], 0.0, 0
        for _ in range(links):
            given, n, g2 = random_link(rng)
            usual, thorough = best(given, n, g2, None), best(given, n, g2, THOROUGH)
            some = np.flatnonzero(np.maximum(usual, thorough) > 0)
            if not len(some):
                continue
            keys += len(some)
            ratios += list(usual[some] / np.maximum(usual, thorough)[some])
            short = max(short, 0.5 * (some[-1] - np.flatnonzero(usual > 0).max(initial=-1)))
        few = int(np.sum(np.array(ratios) < 0.999))
        print(
            f"{name:<36} smallest ratio {min(ratios):.6f}, below 0.999 at {few} of {keys} losses; "
            f"reach at most {short:.1f} dB short",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
