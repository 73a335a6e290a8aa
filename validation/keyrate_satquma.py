"""Decoy bounds against SatQuMA 2.0's, on the same counts.

    python validation/keyrate_satquma.py CHECKOUT

CHECKOUT is a folder with a copy of github.com/cnqo-qcomms/SatQuMA. Its formulas for the vacuum and
single-photon events and for the single-photon errors are called on counts of random settings, with
Yin's (there "Chernoff") and Hoeffding's bounds. Its bounds are not floored at zero counts, so that
settings with few counts are left out. The last run: 200 comparisons, all equal to 1e-15.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from qdchar.keyrate.decoy.coherent_bounds import CoherentBounds
from qdchar.keyrate.decoy.coherent_finite import (
    SEARCH_LOWER,
    SEARCH_UPPER,
    coherent_settings,
    expected_counts,
)
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.link import Link


def main(checkout: Path) -> None:
    """Compare and print the largest difference."""
    sys.path.insert(0, str(checkout.parent))
    module = f"{checkout.name}.key.protocols.func_efficient_BB84"
    peer = __import__(module, fromlist=["s1"])
    rng = np.random.default_rng(6)
    eps_s = 1e-9
    given = LinkParameters.from_link(
        Link(block=1e10, dark_count_rate=0.0, background_count_rate=2e4), 5.0
    )
    worst = 0.0
    compared = 0
    while compared < 200:
        x = rng.uniform(
            np.maximum(SEARCH_LOWER, [1, -1, -1, 0, 0]),
            np.minimum(SEARCH_UPPER, [4, 0, -0.3, 2, 2]),
        )
        settings = coherent_settings(x, "vacuum+weak")
        counts, sent = expected_counts(settings, given)
        mu, share = settings.light.mean, settings.light.share
        if counts.test.min() < 200 or counts.test_errors.min() < 200:
            continue
        for bound, n_bounds, m_bounds in (
            ("yin", peer.nXZpm, peer.mXZpm),
            ("hoeffding", peer.nXZpm_HB, peer.mXZpm_HB),
        ):
            total = () if bound == "yin" else (counts.sifted.sum(),)
            errors = () if bound == "yin" else (counts.test_errors.sum(),)
            least, most = n_bounds(mu, share, counts.sifted, *total, eps_s)
            m_least, m_most = m_bounds(mu, share, counts.test_errors, *errors, eps_s)
            if min(least[2], m_least[2]) <= 0:
                continue
            vacuum = peer.s0(mu, share, least)
            theirs = (
                vacuum,
                peer.s1(mu, share, least, most, vacuum),
                min(peer.vxz1(mu, share, m_least, m_most), counts.test_errors.sum()),
            )
            ours = CoherentBounds(settings.light, np.asarray(eps_s / 21), bound)
            mine = (
                *ours.lower(counts.sifted, sent, None),
                ours.single_upper(counts.test_errors, sent),
            )
            if theirs[1] <= 0:
                continue
            worst = max(worst, *(abs(a / b - 1) for a, b in zip(mine, theirs, strict=True)))
            compared += 1
    print(f"{compared} comparisons of three bounds: largest relative difference {worst:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
