"""Public names of a package that are imported when they are first asked for.

``qdchar --help`` and ``import qdchar`` must not wait for numba, pandas or matplotlib; a notebook's
completion must know all public names nevertheless.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package with lazy public names.

    Parameters
    ----------
    package
        Full name of the package, its ``__name__``.
    home
        Public name to the module, relative to the package, that defines it; an empty one for a
        submodule of that name.

    Returns
    -------
    tuple of two functions
        To be assigned to ``__getattr__`` and ``__dir__`` in the package.
    """

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not home[name]:
            return import_module(f"{package}.{name}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return get, names
