"""Serves one time tagger to several programs; see `qdchar.drivers.tag_stream` for the protocol.

Only one program can use a time tagger: the one that has opened it with the vendor's library. This
server is that program, so that a calibration and a QKD receiver can use the tagger together::

    TagServer(my_tagger, host="0.0.0.0", port=7240, token=os.environ["TAGGER_TOKEN"]).start()

Beyond this computer anybody on the network could count and stream: there a token is demanded.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import math
import socket
import struct
import sys
import threading
from collections.abc import Generator, Iterator, Mapping

import numpy as np

from qdchar.errors import QdcharError, UsageError, described
from qdchar.roles import Counts, TagBlock, TimeTagger

from . import tag_stream
from ._listener import LineReader, Listener

OWNER_WAIT_S = 2.0
"""How long a new stream waits for the end of a stream whose client has just disconnected [s]."""


STALL_S = 10.0
"""How long a client may leave what is sent to it unread before it is hung up on [s]."""
MIN_TOKEN = 16
"""Fewest characters of a token."""


class _RequestError(Exception):
    """A request that is answered with ERROR."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Tap:
    """Counts clicks for one client in the blocks of another client's stream.

    The first block is not counted: its clicks may be older than the request, and so may belong to
    an earlier setting of the experiment.
    """

    def __init__(self, tagger: TimeTagger, dwell_s: float) -> None:
        self._channels = (tagger.channel_a, tagger.channel_b)
        self._dwell_ps = round(dwell_s * 1e12)
        self._start_ps: int | None = None
        self._overflow = False
        self.clicks = [0, 0]
        self.covered_ps = 0
        self.ended = threading.Event()

    @property
    def left_s(self) -> float:
        """The part of the dwell time that is still to be counted [s]."""
        return (self._dwell_ps - self.covered_ps) * 1e-12

    def feed(self, block: TagBlock) -> None:
        """Count the clicks of a block that lie within the dwell time."""
        if self._start_ps is None:
            self._start_ps = block.stop_ps
            return
        stop_ps = min(block.stop_ps, self._start_ps + self._dwell_ps)
        within = block.channels[: int(np.searchsorted(block.times_ps, stop_ps))]
        for i, channel in enumerate(self._channels):
            self.clicks[i] += int(np.count_nonzero(within == channel))
        self._overflow |= block.overflow
        self.covered_ps = stop_ps - self._start_ps
        if self.covered_ps >= self._dwell_ps:
            self.ended.set()

    def wait(self) -> None:
        """Wait for the end of the dwell time or of the stream, whichever is first."""
        self.ended.wait()
        if self._overflow:
            raise _RequestError(
                "overflow", "tags were lost during the count; attenuate the light, or count again"
            )


class TagServer(Listener):
    """Serve a tagger, opened by the caller, to any number of clients.

    Parameters
    ----------
    tagger
        Anything that fits `qdchar.roles.TimeTagger`.
    host, port
        Where to listen; port 0 takes a free one.
    token
        What a client has to send before it is answered; empty for none. Needed where `host` is
        anything but this computer itself. It goes over the network unencrypted.

    Raises
    ------
    UsageError
        If a token is missing where others could connect, or is too short.
    """

    def __init__(
        self, tagger: TimeTagger, *, host: str = "127.0.0.1", port: int = 0, token: str = ""
    ) -> None:
        if not token and not _is_loopback(host):
            raise UsageError(
                f"host = {host!r}: anybody on the network could use the tagger; give a token, or "
                "listen on 127.0.0.1"
            )
        if token and (len(token) < MIN_TOKEN or not token.isascii() or len(token.split()) != 1):
            raise UsageError(
                f"token: at least {MIN_TOKEN} ASCII characters without a space are needed, e.g. "
                'those of python -c "import secrets; print(secrets.token_hex())"'
            )
        self._token = token.encode()
        super().__init__(host, port)
        self._tagger = tagger
        self._device = threading.Lock()  # a vendor's library is called from one thread at a time
        self._ownership = threading.Lock()
        self._owner = ""
        self._taps: list[_Tap] = []
        self._taps_lock = threading.Lock()

    def serve(self, client: socket.socket, name: str) -> None:
        """Answer one client's requests."""
        client.settimeout(None)
        _limit_sending(client)
        lines = LineReader(client)
        if not self._is_let_in(client, lines):
            return
        while (line := lines.next()) is not None:
            verb, *arguments = line.split() or [""]
            try:
                if verb == "stream":
                    self._stream(client, name, _time(verb, arguments))
                else:
                    client.sendall(_reply("OK", self._answer(verb, arguments)))
            except _RequestError as error:
                client.sendall(_reply("ERROR", {"code": error.code, "text": str(error)}))
            except OSError as error:
                if isinstance(error, ConnectionError | BlockingIOError):
                    return  # it has left, or does not read what it is sent
                client.sendall(_reply("ERROR", {"code": "tagger", "text": _as_text(error)}))
            except BaseException as error:  # a vendor's library may raise anything; it is sent
                client.sendall(_reply("ERROR", {"code": "tagger", "text": _as_text(error)}))

    def _is_let_in(self, client: socket.socket, lines: LineReader) -> bool:
        """Ask for the token, if there is one."""
        if not self._token:
            return True
        verb, _, given = (lines.next() or "").partition(" ")
        if verb == "token" and hmac.compare_digest(given.encode(), self._token):
            client.sendall(_reply("OK", {}))
            return True
        text = "this tag server needs the right token; set `token` in the station file"
        client.sendall(_reply("ERROR", {"code": "token", "text": text}))
        return False

    def _answer(self, verb: str, arguments: list[str]) -> Mapping[str, object]:
        tagger = self._tagger
        if verb == "count":
            counts = self._count(_time(verb, arguments))
            return {"clicks": list(counts.clicks), "dwell_s": counts.dwell_s}
        if verb == "identify" and not arguments:
            who = tagger.identify()
            return {
                "protocol": tag_stream.PROTOCOL,
                "vendor": who.vendor,
                "model": who.model,
                "serial": who.serial,
                "firmware": who.firmware,
                "simulated": who.simulated,
            }
        if verb == "channels" and not arguments:
            return {
                "a": tagger.channel_a,
                "b": tagger.channel_b,
                "sync": tagger.channel_sync,
                "sync_divider": tagger.sync_divider,
                "resolution_ps": tagger.resolution_ps,
            }
        if verb == "owner" and not arguments:
            return {"client": self._owner}
        asked = " ".join([verb, *arguments])
        raise _RequestError(
            "usage",
            f"{asked!r} is an unknown request; the known requests are identify, channels, "
            "count DWELL_S, stream DURATION_S and owner",
        )

    def _count(self, dwell_s: float) -> Counts:
        tap = _Tap(self._tagger, dwell_s)
        with self._taps_lock:
            streaming = bool(self._owner)
            if streaming:
                self._taps.append(tap)
        if not streaming:
            with self._device:
                return self._tagger.count(dwell_s)
        tap.wait()
        a, b = tap.clicks
        covered_s = tap.covered_ps * 1e-12
        if tap.left_s > 0:  # the stream ended before the dwell time
            with self._device:
                rest = self._tagger.count(tap.left_s)
            a, b, covered_s = a + rest.clicks[0], b + rest.clicks[1], covered_s + rest.dwell_s
        return Counts(clicks=(a, b), dwell_s=covered_s)

    def _stream(self, client: socket.socket, name: str, duration_s: float) -> None:
        if not self._ownership.acquire(timeout=OWNER_WAIT_S):
            raise _RequestError(
                "busy",
                f"{self._owner} owns the stream; try again when it has ended",
            )
        try:
            self._become_owner(
                name
            )  # before the device is locked, so that later counts use this stream
            with self._device:
                client.sendall(_reply("OK", {"sequence": 0}))
                self._send_blocks(client, duration_s)
        finally:
            self._become_owner("")
            self._ownership.release()

    def _send_blocks(self, client: socket.socket, duration_s: float) -> None:
        sequence, stop_ps = 0, 0
        blocks: Iterator[TagBlock] = iter(())
        try:
            blocks = self._tagger.stream(duration_s)
            while True:
                taps = list(self._taps)  # the taps that were added before this block was read
                block = next(blocks, None)
                if block is None:
                    break
                for part in tag_stream.encode_block(block, sequence):
                    client.sendall(part)
                sequence, stop_ps = sequence + 1, block.stop_ps
                for tap in taps:
                    tap.feed(block)
                with self._taps_lock:
                    self._taps = [tap for tap in self._taps if not tap.ended.is_set()]
                if _hung_up(client):
                    raise ConnectionError("the client ended the stream")
            client.sendall(tag_stream.encode_end(sequence, stop_ps))
        except ConnectionError:
            raise
        except BlockingIOError as error:  # the client has read nothing for STALL_S
            raise ConnectionError("the client does not read its stream") from error
        except BaseException as error:  # a vendor's library may raise anything; it is sent
            client.sendall(tag_stream.encode_error(sequence, stop_ps, _as_text(error)))
        finally:
            if isinstance(blocks, Generator):
                blocks.close()  # so that the tagger is free again

    def _become_owner(self, name: str) -> None:
        with self._taps_lock:
            self._owner = name
            if not name:
                for tap in self._taps:
                    tap.ended.set()
                self._taps = []


def _reply(state: str, answer: Mapping[str, object]) -> bytes:
    return f"{state} {json.dumps(answer)}\n".encode()


def _as_text(error: BaseException) -> str:
    return str(error) if isinstance(error, QdcharError) else described(error)


def _time(verb: str, arguments: list[str]) -> float:
    try:
        (text,) = arguments
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise _RequestError("usage", f"{verb} needs one time above 0 s, got {arguments}")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limit_sending(client: socket.socket) -> None:
    """Let sending fail when a client has read nothing for `STALL_S`; receiving may take for ever.

    The tagger is locked while its tags are sent: a client that stalls must not keep it.
    """
    whole, part = divmod(STALL_S, 1.0)
    if sys.platform == "win32":
        client.setsockopt(socket.SOL_SOCKET, 0x1005, round(1e3 * STALL_S))  # SO_SNDTIMEO in ms
    else:
        limit = struct.pack("@ll", int(whole), round(1e6 * part))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _hung_up(client: socket.socket) -> bool:
    """Whether the client has disconnected. A client sends nothing during its stream."""
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        client.setblocking(True)
