"""Broken connections to the emulators: replies that are spoilt, late, or missing."""

from __future__ import annotations

import socket
import time
from typing import Any, cast

from .._listener import Listener
from .defects import Defects


def on_broken_wire(emulator: Listener, name: str, defects: Defects) -> None:
    """Let the replies of an emulator pass through the defect of its wire, once there is one.

    Parameters
    ----------
    emulator
        Not yet started.
    name
        Under which `Defects.wires` knows it.
    """
    healthy = emulator.serve

    def serve(client: socket.socket, peer: str) -> None:
        healthy(cast(socket.socket, _BrokenSocket(client, name, defects)), peer)

    emulator.serve = serve  # type: ignore[method-assign, assignment]


class _BrokenSocket:
    """A client's socket; all but `sendall` is that of the socket itself."""

    def __init__(self, client: socket.socket, name: str, defects: Defects) -> None:
        self._client, self._name, self._defects = client, name, defects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sendall(self, data: bytes | memoryview) -> None:
        """Send a reply as the wire leaves it."""
        wire, reply = self._defects.wires.get(self._name), bytes(data)
        is_text = reply.startswith((b"OK", b"ERROR"))
        if wire is None or wire.replies <= 0 or (wire.only_tags and is_text):
            self._client.sendall(reply)
            return
        wire.replies -= 1
        if wire.hangs_up:
            self._client.shutdown(socket.SHUT_RDWR)
            raise ConnectionError("the wire is broken")
        if wire.delay_s > 0.0:
            time.sleep(wire.delay_s)
        self._client.sendall(wire.spoil(reply))
