"""What error correction and verification of a session disclosed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qdchar.errors import InconclusiveError, UsageError
from qdchar.link import Link

from ..tail_bounds import binary_entropy

# Errors that come in runs, or more of one bit than of the other, take less than h(QBER) N. A fifth
# less is more than such patterns explain; few errors fluctuate by some dozen bits.
_LEAST_OF_THE_LIMIT = 0.8
_FEW_BITS = 100


@dataclass(frozen=True)
class Correction:
    """What error correction and verification disclosed in a session.

    Attributes
    ----------
    leaked_bits
        Bits that error correction disclosed; None if it was not counted, so that
        f h(QBER) N_Z is taken.
    verification_bits
        Length of the hash that was compared afterwards; the keys then differ unnoticed with a
        probability of 2^-bits. None for the link's `epsilon_correctness`.
    verified
        Whether the hashes were equal.
    """

    leaked_bits: float | None = None
    verification_bits: int | None = None
    verified: bool = True


def checked(correction: Correction | None) -> Correction:
    """Refuse what cannot have been disclosed, and keys that differ."""
    found = correction or Correction()
    if not found.verified:
        raise InconclusiveError(
            "session: verification failed: the two keys differ, and there is no key; correct the "
            "errors again and count what that discloses as well"
        )
    for name in ("leaked_bits", "verification_bits"):
        bits = getattr(found, name)
        if bits is not None and not (bits > 0 or (name == "leaked_bits" and bits == 0)):
            raise UsageError(f"session: {name} = {bits}: a number of bits")
    return found


def with_correctness(link: Link, correction: Correction) -> Link:
    """Return the link with the correctness that the session's hash gives."""
    bits = correction.verification_bits
    return link if bits is None else link.model_copy(update={"epsilon_correctness": 2.0**-bits})


def leak(sifted: Any, qber: float, link: Link, correction: Correction) -> dict[str, Any]:
    """Return `leaked_bits` and `leak_measured` of a `SessionKey`.

    Raises
    ------
    UsageError
        Less was disclosed than corrects the errors.
    """
    detections = float(np.asarray(sifted, dtype=np.float64).sum())
    limit = float(binary_entropy(qber)) * detections
    if correction.leaked_bits is not None:
        if correction.leaked_bits < _LEAST_OF_THE_LIMIT * limit - _FEW_BITS:
            raise UsageError(
                f"session: leaked_bits = {correction.leaked_bits:g}, but to correct "
                f"{100 * qber:.3g} % of errors in {detections:.6g} bits takes about {limit:.4g} "
                "(Shannon's limit); count every parity, of all passes and frames"
            )
        return {"leaked_bits": float(correction.leaked_bits), "leak_measured": True}
    estimated = link.error_correction_efficiency * limit
    return {"leaked_bits": estimated, "leak_measured": False}
