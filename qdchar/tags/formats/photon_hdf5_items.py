"""What is read of an HDF5 file: one row of integers, or one number; anything else is refused.

A name may stand for a group, for text, or for a dataset that claims more than memory holds.
"""

from __future__ import annotations

from typing import Any

import h5py


def row_of(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset that is one row of integers; it is not read yet. Raises ValueError."""
    item = group[name]
    if not isinstance(item, h5py.Dataset):
        raise ValueError(
            f"{item.name} is a {type(item).__name__.lower()}, wanted a row of integers"
        )
    if len(item.shape or ()) != 1 or item.dtype.kind not in "iu" or item.dtype.itemsize > 8:
        raise ValueError(
            f"{item.name} is {item.dtype} of shape {item.shape}; wanted one row of integers"
        )
    return item


def number_of(group: h5py.Group, name: str) -> float:
    """Read a dataset that is one number. Raises ValueError."""
    item: Any = group[name]
    if (
        not isinstance(item, h5py.Dataset)
        or item.shape not in ((), (1,))
        or item.dtype.kind not in "iuf"
    ):
        raise ValueError(f"{item.name} is {item!r}; wanted one number")
    return float(item[()] if item.shape == () else item[0])
