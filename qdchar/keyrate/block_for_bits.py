"""The block that a wanted number of secret bits needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError
from qdchar.link import Link

from .decoy.attenuated_source_finite import best_attenuator_key
from .link_parameters import LinkParameters
from .result import PHASE, DecoyProtocol, Protocol
from .single_photon.finite_key import Accounting
from .single_photon.rate import best_single_photon_key
from .source import SourceFigures

Floats = NDArray[np.float64]

_SMALLEST, _LARGEST = 1e2, 1e16
_TRIALS = 17
_ROUNDS = 6  # each divides the bracket by 16: 14 decades become 2e-6 of one


def block_for_bits(
    source: SourceFigures,
    link: Link,
    bits: float,
    *,
    loss_dB: float | None = None,
    protocol: Protocol | DecoyProtocol = "efficient-bb84",
    accounting: Accounting = "alice",
    p_z: float | None = None,
    attenuation: float | None = None,
    p3_max: float = 0.0,
) -> float:
    """Find the smallest block of received pulses whose key is long enough.

    Parameters
    ----------
    source, link, protocol, accounting, p_z, attenuation, p3_max
        As in `qdchar.keyrate.predict` and `predict_with_decoy`; the link's block is not used.
    bits
        Length of the secret key [bit].
    loss_dB
        Channel loss; default the link's own.

    Returns
    -------
    float
        Received pulses, at the best settings for that block.

    Raises
    ------
    UsageError
        No block of up to 1e16 pulses gives that many bits.
    """
    if not 1 <= bits < np.inf:
        raise UsageError(f"key rate: {bits:g} secret bits: at least 1 must be asked for")
    loss = link.channel_loss.value if loss_dB is None else loss_dB
    received = link.model_copy(update={"block_kind": "received"})
    given = LinkParameters.from_link(received, loss, source.clock_rate.value)
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    phase = PHASE[protocol.removesuffix("-decoy")]

    def length(block: Floats) -> Floats:
        at = replace(given, block=block)
        if protocol.endswith("-decoy"):
            return best_attenuator_key(n, g2, at, p3_max=p3_max, phase=phase)[0].key_length
        key = best_single_photon_key(n, g2, at, phase, accounting, p_z, attenuation)
        return key.key_length

    low, high = np.log10(_SMALLEST), np.log10(_LARGEST)
    for _ in range(_ROUNDS):
        trials = np.linspace(low, high, _TRIALS)
        enough = length(10**trials) >= bits
        if not enough[-1]:
            raise UsageError(
                f"key rate: no block of up to {_LARGEST:g} received pulses gives {bits:g} secret "
                f"bits at {loss:g} dB; what a key lacks there is said without --bits"
            )
        first = int(enough.argmax())
        low, high = trials[max(first - 1, 0)], trials[first]
    return float(np.ceil(10**high))
