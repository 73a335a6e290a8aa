"""Fits against NIST's Statistical Reference Datasets: right, or not said to be.

The folder nist beside this file holds 8 of the 27 sets of nonlinear regression
(itl.nist.gov/div898/strd, public domain); validation/nist.py, whose reader and models these tests
use, takes them all.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from qdchar.errors import InconclusiveError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "nist", HERE.parents[1] / "validation" / "nist.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nist"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("near", [False, True], ids=["far start", "near start"])
@pytest.mark.parametrize("name", sorted(p.stem for p in (HERE / "nist").glob("*.dat")))
def test_certified_or_refused(study: ModuleType, name: str, near: bool) -> None:
    certified = study.read(HERE / "nist", name)
    try:
        fit = study.fit(certified, certified.starts[near])
    except InconclusiveError:
        assert not near
        return
    if fit.problems:  # another minimum
        assert not near
        return
    # The search ends when the sum of squares, 10 to 200 here, falls by less than 1e-10 of itself:
    # parameters are within the root of 1e-10 * 200 standard errors, whatever digits that are.
    assert np.max(np.abs(fit.values - certified.values) / certified.u) < 1e-4
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(certified.u, rel=3e-5)
    assert fit.minimum == pytest.approx(fit.dof, rel=1e-8)


@pytest.mark.parametrize("name", ["Bennett5", "Chwirut2", "Eckerle4", "Gauss1", "Lanczos3"])
def test_six_digits(study: ModuleType, name: str) -> None:
    certified = study.read(HERE / "nist", name)
    fit = study.fit(certified, certified.starts[1])
    assert study.digits(fit.values, certified.values) > 6
    assert study.digits(np.sqrt(np.diag(fit.covariance)), certified.u) > 6
