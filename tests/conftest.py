"""For all tests: one thread for linear algebra, as the matrices are small and the workers two.

A calibration has no live page, which is a process of its own; tests/report/test_live.py makes one.
Each worker has station locks of its own, as several tests use the same made-up address at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# before anything imports numpy
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("QDCHAR_LIVE", "0")


@pytest.fixture(autouse=True, scope="session")
def _locks_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDCHAR_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield
