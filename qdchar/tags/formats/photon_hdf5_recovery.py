"""Open HDF5 files whose writer was killed, or is still writing.

Such a file says in its superblock that it is open for writing, and HDF5 then reads it only in
its single-writer-multiple-reader mode. There, each checksum that does not fit is taken for a
block caught half-written and tried again for minutes, so that a damaged file looks like a hang.
Here the file is shown to HDF5 with that mark taken off, and is read or refused at once.

HDF5 File Format Specification 3.0, II.A: superblock versions 2 and 3. Checksum: Jenkins'
lookup3, "hashlittle", public domain.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, Final

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_SIZE: Final = 48  # bytes of the superblock with 8-byte addresses
_FLAGS: Final = 11
_END_OF_FILE: Final = slice(28, 36)
_GROWTH: Final = 1 << 40
_MASK: Final = 0xFFFFFFFF


def is_marked_open(beginning: bytes) -> bool:
    """Tell whether a sound superblock says that the file is open for writing."""
    return (
        len(beginning) >= _SIZE
        and beginning[:8] == _SIGNATURE
        and beginning[8] == 3
        and beginning[9] == beginning[10] == 8
        and beginning[_FLAGS] != 0
        and struct.unpack("<I", beginning[44:48])[0] == lookup3(beginning[:44])
    )


def end_of_file(beginning: bytes) -> int | None:
    """Return where the file ends as its superblock says; None unless it was closed properly."""
    if beginning[:8] != _SIGNATURE or len(beginning) < _SIZE or beginning[8] not in (2, 3):
        return None
    if beginning[_FLAGS] != 0:
        return None
    sound = struct.unpack("<I", beginning[44:48])[0] == lookup3(beginning[:44])
    return int(struct.unpack("<Q", beginning[_END_OF_FILE])[0]) if sound else None


class AsClosed(io.RawIOBase):
    """A file marked as open, shown as if it had been closed properly. Read only."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb")
        head = bytearray(self._file.read(_SIZE))
        # While it is read the file may grow, and its writer notes its end only now and then.
        self._size = self._file.seek(0, io.SEEK_END) + _GROWTH
        self._file.seek(0)
        head[_FLAGS] = 0
        head[_END_OF_FILE] = struct.pack("<Q", self._size)
        head[44:48] = struct.pack("<I", lookup3(bytes(head[:44])))
        self._head = bytes(head)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be gone through in any order."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; the end is far enough away for the file to grow."""
        return self._file.seek(self._size + offset if whence == io.SEEK_END else offset)

    def tell(self) -> int:
        """Give the present byte."""
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        """Read from the present byte; the superblock with the mark taken off."""
        at = self._file.tell()
        count = int(self._file.readinto(buffer))
        view = memoryview(buffer).cast("B")
        view[count:] = bytes(len(view) - count)  # beyond what is written there is nothing
        if at < _SIZE:
            part = self._head[at : at + len(view)]
            view[: len(part)] = part
        return len(view)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def lookup3(data: bytes) -> int:
    """Jenkins' lookup3 of some bytes, initial value 0.

    Examples
    --------
    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    padded = data + bytes(-len(data) % 12)
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    for i in range(0, len(words) - 3, 3):
        a, b, c = ((x + w) & _MASK for x, w in zip((a, b, c), words[i : i + 3], strict=True))
        a = ((a - c) & _MASK) ^ _rotated(c, 4)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotated(a, 6)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotated(b, 8)
        b = (b + a) & _MASK
        a = ((a - c) & _MASK) ^ _rotated(c, 16)
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotated(a, 19)
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotated(b, 4)
        b = (b + a) & _MASK
    a, b, c = ((x + w) & _MASK for x, w in zip((a, b, c), words[-3:], strict=True))
    c = ((c ^ b) - _rotated(b, 14)) & _MASK
    a = ((a ^ c) - _rotated(c, 11)) & _MASK
    b = ((b ^ a) - _rotated(a, 25)) & _MASK
    c = ((c ^ b) - _rotated(b, 16)) & _MASK
    a = ((a ^ c) - _rotated(c, 4)) & _MASK
    b = ((b ^ a) - _rotated(a, 14)) & _MASK
    c = ((c ^ b) - _rotated(b, 24)) & _MASK
    return int(c)
