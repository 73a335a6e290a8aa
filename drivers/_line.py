"""A connection to an instrument over TCP, with the standard library's sockets only.

What can go wrong on such a connection, and what is done about it:

- Nothing answers at the address: connecting is bounded in time, looking up the name included.
- The instrument closes the connection: the error says so, and does not say "timeout".
- A late reply is taken for the answer to the next question: after a timeout, after an interrupt in
  the middle of an exchange, or after bytes that were not asked for, the connection is closed, and
  the next query opens a new one.
- A move is made twice: only a `query` is sent again after a reconnect. A `command` is never sent
  twice, and it does not reconnect. A driver reads the state by a query first, and then commands.
- The network cuts replies in pieces or joins them: a reply ends at its terminator or its length.
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
MAX_REPLY_BYTES = 1 << 20
"""A reply in text that is longer is none of an instrument."""


class ConnectionLostError(InstrumentError):
    """The connection is gone or out of step; a query may be asked again on a new one."""


def host_and_port(address: object) -> tuple[str, int]:
    """Split ``tcp://host:port``. Raises UsageError."""
    if isinstance(address, str):
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:  # "tcp://[::1" already fails at the first line
            host = port = None
        if host and port:
            rest = parts.path or parts.query or parts.fragment
            if address.startswith("tcp://") and not rest:
                return host, port
    raise UsageError(f"address = {address!r}: tcp://HOST:PORT is needed, e.g. tcp://10.0.0.5:7230")


def retry_once(action: Callable[[], T]) -> T:
    """Do an action; if it raises InstrumentError, do it once more from the start.

    For `make_safe` only. The action has to read the state of the instrument first, so that the
    second attempt starts from the state in which the first one left it.
    """
    try:
        return action()
    except InstrumentError:
        return action()


class Line:
    """A connection to one instrument; several roles may share it.

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
    ignored
        Bytes without meaning that may arrive between exchanges.
    on_connect
        Called with the line after each connect: log in, switch the echo off.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        timeout_s: float = 2.0,
        ending: bytes = b"\n",
        ignored: bytes = b"\r\n \0",
        on_connect: Callable[[Line], None] | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.timeout_s = timeout_s
        self.connects = 0
        """Number of connects so far: if it grew, the instrument may have been restarted."""
        self._where = host_and_port(address)
        self._ending, self._ignored, self._on_connect = ending, ignored, on_connect
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._open = False
        self._deadline = self._allowed_s = 0.0
        self._asked = "connecting"
        self._lock = threading.RLock()

    @property
    def label(self) -> str:
        """Name and address of the instrument, for messages."""
        return f"{self.name} at {self.address}"

    @property
    def is_open(self) -> bool:
        """Whether it is between `open` and `close`, whether or not it is connected now."""
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

    def unexpected(self, asked: str, got: object, wanted: str) -> InstrumentError:
        """Make the error for a reply that cannot be right."""
        return InstrumentError(
            f"{self.label}: asked {asked!r}, got {got!r} instead of {wanted}. Check that this "
            "is the right instrument and that no other program uses it at the same time"
        )

    def query(self, text: str, read: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Send a request that changes nothing; once more if the connection was lost."""
        with self._lock:
            try:
                return self._exchange(text, read, timeout_s, reconnect=True)
            except ConnectionLostError:
                self.drop()
                return self._exchange(text, read, timeout_s, reconnect=True)

    def command(self, text: str, read: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Send a request that changes something: once, and only if the connection exists."""
        with self._lock:
            return self._exchange(text, read, timeout_s, reconnect=False)

    def _exchange(
        self, text: str, read: Callable[[], T], timeout_s: float | None, *, reconnect: bool
    ) -> T:
        if not self._open:
            raise InstrumentError(
                f"{self.label}: {text!r} was not sent, because the instrument is not open. Call "
                "open() first, or use it in a `with`"
            )
        if self._socket is None and reconnect:
            self._connect()
        self._asked = repr(text)
        self.set_deadline(self.timeout_s if timeout_s is None else timeout_s)
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
                f"{self.label}: the connection was lost before {self._asked}; "
                "it was not sent. Read the instrument's state before going on"
            )
        self._socket.setblocking(False)
        try:
            while len(self._buffer) <= MAX_REPLY_BYTES:
                received = self._socket.recv(65536)
                if not received:
                    raise self._lost(None)
                self._buffer += received
            raise ConnectionLostError(
                f"{self.label}: {bytes(self._buffer[:80])!r} and more than {MAX_REPLY_BYTES} bytes "
                f"arrived before {self._asked} was sent. Check the port in the station file"
            )
        except BlockingIOError:
            pass  # nothing more: in step
        except OSError as error:
            raise self._lost(error) from error
        unasked = bytes(self._buffer).strip(self._ignored)
        self._buffer.clear()
        if unasked:
            raise ConnectionLostError(
                f"{self.label}: {unasked[:80]!r} arrived before {self._asked} was sent. Check that "
                "no other program uses the same connection"
            )

    # for the functions `read` and `on_connect`

    def send(self, text: str, *, shown: str | None = None) -> None:
        """Send a request; messages show `shown` in its place, e.g. for a password."""
        if shown is not None:
            self._asked = shown
        try:
            self._require_socket().sendall(text.encode() + self._ending)
        except OSError as error:
            raise self._lost(error) from error

    def read_line(self) -> str:
        """Read one line, whatever its ending (LF or CRLF)."""
        return self.read_until(re.compile(rb"\n")).strip("\r\n")

    def read_nothing(self) -> None:
        """Read nothing: the request has no reply."""

    def read_until(self, end: re.Pattern[bytes]) -> str:
        """Read up to the end of the first match."""
        while not (match := end.search(self._buffer)):
            if len(self._buffer) > MAX_REPLY_BYTES:
                raise InstrumentError(
                    f"{self.label}: asked {self._asked}, got {len(self._buffer)} bytes without an "
                    "end. Check the port in the station file"
                )
            self._receive()
        taken = bytes(self._buffer[: match.end()])
        del self._buffer[: match.end()]
        try:
            return taken.decode()
        except UnicodeDecodeError:
            raise InstrumentError(
                f"{self.label}: asked {self._asked}, got {taken[:80]!r}, which is "
                "not text. Check the port in the station file"
            ) from None

    def skip_banner(self, end: re.Pattern[bytes], quiet_s: float) -> None:
        """Read a banner up to a match, or until nothing came for `quiet_s`."""
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

    def read_exactly(self, size: int) -> bytearray:
        """Read a given number of bytes."""
        taken = bytearray(size)
        view = memoryview(taken)
        ready = min(size, len(self._buffer))
        view[:ready] = self._buffer[:ready]
        del self._buffer[:ready]
        while ready < size:
            ready += self._wait(socket.socket.recv_into, view[ready:])
        return taken

    def set_deadline(self, timeout_s: float) -> None:
        """Let the current exchange end within a time from now [s]."""
        self._allowed_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    def drop(self) -> None:
        """Close the connection; the next query opens a new one."""
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
            so_far = f", only {bytes(self._buffer[:80])!r} so far" if self._buffer else ""
            raise InstrumentError(
                f"{self.label}: no answer to {self._asked} within "
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
            f"{self.label}: the connection was closed by the instrument{reason} "
            f"at {self._asked}. Check its power and whether it allows one more client"
        )

    def _connect(self) -> None:
        self.drop()
        self._socket = _connected(self._where, self.name, self.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.set_deadline(self.timeout_s)
        self.connects += 1
        if self._on_connect is not None:
            try:
                self._on_connect(self)
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
