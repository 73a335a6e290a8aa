"""Every quantity that an analysis promises is defined, once, with a unit that can be printed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from qdchar import analysis
from qdchar.estimate import Estimate
from qdchar.notation import prefixed
from qdchar.quantities import BUILT_IN, quantity


def _analyses() -> Iterator[Callable[..., Any]]:
    for module in pkgutil.iter_modules(analysis.__path__):
        if not module.name.startswith("_"):
            found = importlib.import_module(f"qdchar.analysis.{module.name}")
            for name, function in inspect.getmembers(found, inspect.isfunction):
                if name.startswith("analyse") and function.__module__ == found.__name__:
                    yield function


@pytest.mark.parametrize("analyse", list(_analyses()), ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_promised_figures_are_in_the_vocabulary(analyse: Callable[..., Any]) -> None:
    text = inspect.getdoc(analyse) or ""
    returned = re.search(r"^Returns\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.M | re.S)
    promised = set(re.findall(r"``([a-z]\w*)``", returned[1] if returned else ""))
    known = {
        *BUILT_IN,
        *(f.name for f in fields(Estimate)),
        *inspect.signature(analyse).parameters,
    }
    assert promised <= known


def test_a_symbol_means_one_thing() -> None:
    symbols = Counter(quantity(name).symbol for name in BUILT_IN)
    assert [s for s, n in symbols.items() if n > 1] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_units_are_si_and_can_be_printed(name: str) -> None:
    term = quantity(name)
    assert set(re.split("[/ ]", term.unit)) <= {"1", "s", "Hz", "W", "V", "m", "m2", "dB", "rad"}
    scale, unit = prefixed(1.0, term.unit)
    assert scale > 0
    assert unit.endswith("" if term.unit == "1" else term.unit)
