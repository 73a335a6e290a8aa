"""Reference rates of coherent light with infinite decoy states, by another program.

    pip install tno.quantum.communication.qkd_key_rate==2.0.4 tno.quantum.utils
    python validation/keyrate_tno.py

TNO's package takes the dark counts per detector (here half of the total), the misalignment as an
angle, and no error-correction factor. Its numbers stand in tests/keyrate/test_coherent.py.
"""

from __future__ import annotations

import numpy as np
from tno.quantum.communication.qkd_key_rate.quantum import standard_detector
from tno.quantum.communication.qkd_key_rate.quantum.bb84 import BB84FullyAsymptoticKeyRateEstimate

from qdchar.keyrate.decoy.coherent import best_infinite_decoy
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.link import Link

LOSSES = [0.0, 10.0, 20.0, 30.0, 40.0]


def main() -> None:
    """Print both programs' rates."""
    link = Link(error_correction_efficiency=1.0, receiver="active")
    peer = BB84FullyAsymptoticKeyRateEstimate(
        detector=standard_detector.customise(
            dark_count_rate=link.dark_count_probability / 2,
            polarization_drift=float(np.arcsin(np.sqrt(link.misalignment.value))),
            error_detector=0.0,
            efficiency_party=link.receiver_efficiency,
        )
    )
    ours, _ = best_infinite_decoy(LinkParameters.from_link(link, LOSSES))
    for loss, mine in zip(LOSSES, ours, strict=True):
        _, theirs = peer.optimize_rate(attenuation=loss)
        print(f"{loss:5.1f} dB  TNO {theirs:.9e}  qdchar {mine:.9e}  ratio {mine / theirs:.7f}")


if __name__ == "__main__":
    main()
