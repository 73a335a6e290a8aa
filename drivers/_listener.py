"""A small threaded TCP server: one thread a client, closed without leftovers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from qdchar.errors import InstrumentError


class Listener:
    """Listens from construction on, so that `port` is known; serves from `start` on.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            self._listening = socket.create_server((host, port))
        except OSError as error:
            raise InstrumentError(
                f"cannot listen on {host}:{port}: {error.strerror}. Is it served already?"
            ) from error
        self.host = host
        self.port: int = self._listening.getsockname()[1]
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def address(self) -> str:
        """Where a driver finds it: ``tcp://host:port``."""
        return f"tcp://{self.host}:{self.port}"

    def start(self) -> Self:
        """Serve clients in the background."""
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        """Hang up on every client and end all threads; idempotent."""
        with self._lock:
            self._stopping = True
            clients, threads = list(self._clients), list(self._threads)
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept up
        self._listening.close()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(timeout=5.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serve(self, client: socket.socket, name: str) -> None:
        """Talk to one client until it hangs up; runs in a thread of its own."""
        raise NotImplementedError

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive() or t.ident is None]
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, (host, port, *_) = self._listening.accept()
            except OSError:
                return  # stopped
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._stopping:
                    client.close()
                    return
                self._clients.add(client)
            self._spawn(self._serve, client, f"{host}:{port}")

    def _serve(self, client: socket.socket, name: str) -> None:
        try:
            with client, contextlib.suppress(OSError):  # a client may hang up at any time
                self.serve(client, name)
        finally:
            with self._lock:
                self._clients.discard(client)


MAX_LINE_BYTES = 1 << 16
"""A client that sends more without an ending is hung up on."""


class LineReader:
    """Cuts what a client sends into lines, however the network has cut it."""

    def __init__(self, client: socket.socket, *, endings: bytes = b"\n") -> None:
        self._client, self._endings = client, endings
        self._buffer = bytearray()

    def next(self) -> str | None:
        """Read a line without its ending; None when the client has hung up, or sends no ending."""
        while (end := self._find()) < 0:
            received = self._client.recv(65536)
            if not received:
                return None
            self._buffer += received
            if len(self._buffer) > MAX_LINE_BYTES and self._find() < 0:
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.decode(errors="replace").strip("\r\n")

    def _find(self) -> int:
        found = [at for ending in self._endings if (at := self._buffer.find(ending)) >= 0]
        return min(found, default=-1)
