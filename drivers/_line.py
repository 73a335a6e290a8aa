"""A text line to an instrument over TCP, on the standard library's sockets alone.

What goes wrong on such a line, and what is done about it here:

- A dead address: connecting is bounded in time, looking up the name included.
- A peer that hangs up: said to be closed by the instrument, not "timeout".
- A late reply taken for the answer to the next question: after a timeout, an interrupt in the
  middle of an exchange, or bytes nobody asked for, the connection is given up and opened anew.
- A move made twice: only a `query` is asked again after a reconnect; a `command` never is, and it
  does not reconnect either. A driver reads the state first, by a query, and then commands.
- Replies cut or glued together by the network: reading goes by terminators and lengths only.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar
from urllib.parse import urlsplit

from qdchar.errors import InstrumentError, UsageError

T = TypeVar("T")
CONNECT_TIMEOUT_S = 5.0


class ConnectionLostError(InstrumentError):
    """The connection is gone or out of step; a query may be asked again on a new one."""


def host_and_port(address: object) -> tuple[str, int]:
    """Split ``tcp://host:port``. Raises UsageError."""
    if isinstance(address, str):
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        bare = address.startswith("tcp://") and not (parts.path or parts.query or parts.fragment)
        if bare and host and port:
            return host, port
    raise UsageError(f"address = {address!r}: tcp://HOST:PORT is needed, e.g. tcp://10.0.0.5:7230")


def retry_once(action: Callable[[], T]) -> T:
    """Do something that starts by reading the state; if it fails, once more from the start.

    For the way to safety only: it is taken up from where the device is then.
    """
    try:
        return action()
    except InstrumentError:
        return action()


class Line:
    """A line to one instrument; several roles may share it.

    Parameters
    ----------
    address
        ``tcp://host:port``.
    name
        What the instrument is called in messages.
    timeout_s
        How long a reply may take [s].
    ending
        What ends a request.
    idle
        Bytes that may arrive between exchanges and mean nothing.
    greet
        Called after each connect, with the line: log in, switch the echo off.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        timeout_s: float = 2.0,
        ending: bytes = b"\n",
        idle: bytes = b"\r\n \0",
        greet: Callable[[Line], None] | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.timeout_s = timeout_s
        self.session = 0
        """Counts the connects: a driver sees by it that the device may have been restarted."""
        self._where = host_and_port(address)
        self._ending, self._idle, self._greet = ending, idle, greet
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._open = False
        self._deadline = self._allowed_s = 0.0
        self._asked = "connecting"
        self._lock = threading.RLock()

    @property
    def is_open(self) -> bool:
        """Whether `open` was called and `close` was not, connected right now or not."""
        return self._open

    def open(self) -> None:
        """Connect. Raises InstrumentError with what was tried."""
        with self._lock:
            if not self._open:
                self._connect()
                self._open = True

    def close(self) -> None:
        """Disconnect; idempotent."""
        with self._lock:
            self._open = False
            self.drop()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, text: str, read: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Ask something that changes nothing; asked once more if the connection was lost."""
        with self._lock:
            try:
                return self._exchange(text, read, timeout_s, reconnect=True)
            except ConnectionLostError:
                self.drop()
                return self._exchange(text, read, timeout_s, reconnect=True)

    def command(self, text: str, read: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Ask for a change; never sent twice, and only on a connection that stands."""
        with self._lock:
            return self._exchange(text, read, timeout_s, reconnect=False)

    def _exchange(
        self, text: str, read: Callable[[], T], timeout_s: float | None, *, reconnect: bool
    ) -> T:
        if not self._open:
            raise InstrumentError(
                f"{self.name} at {self.address}: {text!r} was asked of a line that is not open"
            )
        if self._socket is None and reconnect:
            self._connect()
        self._asked = repr(text)
        self.allow(self.timeout_s if timeout_s is None else timeout_s)
        try:
            self._check_in_step()
            self.send(text)
            return read()
        except BaseException:  # an interrupt too: its late reply must not answer the next question
            self.drop()
            raise

    def _check_in_step(self) -> None:
        if self._socket is None:
            raise ConnectionLostError(
                f"{self.name} at {self.address}: the connection was lost before {self._asked}; "
                "it was not sent. Read the instrument's state before going on"
            )
        self._socket.setblocking(False)
        try:
            while received := self._socket.recv(65536):
                self._buffer += received
            raise self._lost(None)
        except BlockingIOError:
            pass  # nothing more: in step
        except OSError as error:
            raise self._lost(error) from error
        unasked = bytes(self._buffer).strip(self._idle)
        self._buffer.clear()
        if unasked:
            raise ConnectionLostError(
                f"{self.name} at {self.address}: before {self._asked} was sent it had said "
                f"{unasked[:80]!r}, which nobody asked for. Is another program on the same line?"
            )

    # what a `read` or a `greet` is made of

    def send(self, text: str, *, shown: str | None = None) -> None:
        """Send a request; `shown` stands in messages for what must not be shown."""
        if shown is not None:
            self._asked = shown
        try:
            self._require_socket().sendall(text.encode() + self._ending)
        except OSError as error:
            raise self._lost(error) from error

    def line(self) -> str:
        """Read one line, whatever its ending (LF or CRLF)."""
        return self.until(re.compile(rb"\n")).strip("\r\n")

    def nothing(self) -> None:
        """Read nothing: the request has no reply."""

    def until(self, end: re.Pattern[bytes]) -> str:
        """Read up to and with the first match."""
        while not (match := end.search(self._buffer)):
            self._receive()
        taken = bytes(self._buffer[: match.end()])
        del self._buffer[: match.end()]
        try:
            return taken.decode()
        except UnicodeDecodeError:
            raise InstrumentError(
                f"{self.name} at {self.address}: asked {self._asked}, got {taken[:80]!r}, which is "
                "not text. Is this the right port?"
            ) from None

    def skip_banner(self, end: re.Pattern[bytes], quiet_s: float) -> None:
        """Read a greeting up to a match, or until it has been quiet for a while."""
        whole = self._deadline
        while not end.search(self._buffer):
            self._deadline = min(whole, time.monotonic() + quiet_s)
            try:
                self._receive()
            except ConnectionLostError:
                raise
            except InstrumentError:
                break
        self._deadline = whole
        self._buffer.clear()

    def exactly(self, size: int) -> bytearray:
        """Read so many bytes."""
        taken = bytearray(size)
        view = memoryview(taken)
        ready = min(size, len(self._buffer))
        view[:ready] = self._buffer[:ready]
        del self._buffer[:ready]
        while ready < size:
            ready += self._wait(socket.socket.recv_into, view[ready:])
        return taken

    def allow(self, timeout_s: float) -> None:
        """Give the exchange that is under way so much time from now on [s]."""
        self._allowed_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    def drop(self) -> None:
        """Give the connection up; the next query opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    # the socket

    def _require_socket(self) -> socket.socket:
        if self._socket is None:
            raise self._lost(None)
        return self._socket

    def _receive(self) -> None:
        self._buffer += self._wait(socket.socket.recv, 65536)

    def _wait(self, receive: Callable[..., T], *arguments: object) -> T:
        connection = self._require_socket()
        left = self._deadline - time.monotonic()
        try:
            connection.settimeout(max(left, 1e-3))
            received = receive(connection, *arguments)
        except TimeoutError:
            so_far = f"; so far it said {bytes(self._buffer[:80])!r}" if self._buffer else ""
            raise InstrumentError(
                f"{self.name} at {self.address}: no answer to {self._asked} within "
                f"{self._allowed_s:g} s{so_far}. Check that it is the right instrument and that no "
                "other program keeps it busy"
            ) from None
        except OSError as error:
            raise self._lost(error) from error
        if not received:
            raise self._lost(None)
        return received

    def _lost(self, error: OSError | None) -> ConnectionLostError:
        reason = f" ({error.strerror})" if error is not None and error.strerror else ""
        return ConnectionLostError(
            f"{self.name} at {self.address}: the connection was closed by the instrument{reason} "
            f"at {self._asked}. Check its power and whether it allows one more client"
        )

    def _connect(self) -> None:
        self.drop()
        self._socket = _connected(self._where, self.name, self.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.allow(self.timeout_s)
        self.session += 1
        if self._greet is not None:
            try:
                self._greet(self)
            except BaseException:
                self.drop()
                raise


def _connected(where: tuple[str, int], name: str, address: str) -> socket.socket:
    started = time.monotonic()
    last: OSError | None = None
    for family, kind, protocol, _, target in _resolved(where, name, address):
        left = started + CONNECT_TIMEOUT_S - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left)
            connection.connect(target)
            return connection
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
    if isinstance(last, ConnectionRefusedError):
        hint = "nothing listens on that port. Check the port and the instrument's network settings"
    elif isinstance(last, TimeoutError) or last is None:
        hint = (
            f"nothing answered within {CONNECT_TIMEOUT_S:g} s. Check power, cable and address "
            "(does it answer a ping?)"
        )
    else:
        hint = f"{last.strerror or last}. Check the network and the address"
    raise InstrumentError(f"{name}: cannot connect to {address}: {hint}") from last


Resolved = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]


def _resolved(where: tuple[str, int], name: str, address: str) -> Resolved:
    """Look the host up in a thread: a dead name server must not hold the measurement up."""
    found: queue.SimpleQueue[Resolved | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(*where, type=socket.SOCK_STREAM))  # type: ignore[arg-type]
        except OSError as error:
            found.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = found.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        answer = TimeoutError("the name server does not answer")
    if isinstance(answer, OSError):
        raise InstrumentError(
            f"{name}: cannot connect to {address}: host {where[0]!r} cannot be found "
            f"({answer.strerror or answer}). Check the spelling, or use the IP address"
        ) from answer
    return answer
