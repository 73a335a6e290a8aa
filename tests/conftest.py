"""For all tests: one thread for linear algebra, as the matrices are small and the workers two."""

from __future__ import annotations

import os

# before anything imports numpy
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
