"""What docstrings say about the keys of a settings class: for commented files and the handbook."""

from __future__ import annotations

import inspect
import re

_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)


def key_texts(kind: type) -> dict[str, str]:
    """Return the text of each key of a class from the section ``Attributes`` of its docstring.

    Parameters
    ----------
    kind
        A class with a numpydoc docstring. Those of its bases count where it has none of its own.

    Returns
    -------
    dict of str to str
        Key to its text, in one line. Keys that share an entry have the same text.
    """
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__doc__" in vars(base) and base.__module__.startswith("qdchar"):
            texts |= _attributes(inspect.cleandoc(base.__doc__ or ""))
    return texts


def summary(kind: type) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _attributes(text: str) -> dict[str, str]:
    parts = _HEADING.split(text)
    section = dict(zip(parts[1::2], parts[2::2], strict=True)).get("Attributes", "")
    texts: dict[str, str] = {}
    for entry in re.split(r"^(?=\S)", section.strip("\n"), flags=re.M):
        names, _, body = entry.partition("\n")
        for name in filter(None, (n.strip() for n in names.split(","))):
            texts[name] = " ".join(body.split())
    return texts
