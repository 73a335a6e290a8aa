"""The line itself: framing, faults, and what is never sent twice."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time

import pytest

from qdchar.drivers import _line
from qdchar.drivers._line import ConnectionLostError, Line, host_and_port
from qdchar.errors import InstrumentError


def line_to(instrument, **kwargs) -> Line:
    return Line(instrument.address, name="device", timeout_s=kwargs.pop("timeout_s", 2.0), **kwargs)


@pytest.mark.parametrize("cut", [0, 1, 2, 7])
def test_replies_cut_by_the_network_come_whole(conversation, cut):
    said = [(f"q{k}?\n".encode(), f"answer {k:03d}, of some length\r\n".encode()) for k in range(9)]
    with line_to(conversation(said, cut=cut)) as line:
        got = [line.query(f"q{k}?", line.read_line) for k in range(9)]
    assert got == [f"answer {k:03d}, of some length" for k in range(9)]


def test_replies_glued_together_are_taken_apart(conversation):
    instrument = conversation([(b"both?\n", b"one\r\ntwo\nthree\n")])
    with line_to(instrument) as line:
        assert line.query("both?", lambda: [line.read_line() for _ in range(3)]) == [
            "one",
            "two",
            "three",
        ]


def test_binary_after_text_in_one_packet(conversation):
    instrument = conversation([(b"data?\n", b"OK\n\x00\x01\xff\n\x02rest"), (b"next?\n", b"n\n")])
    with line_to(instrument) as line:
        read = line.query(
            "data?", lambda: (line.read_line(), line.read_exactly(5), line.read_exactly(4))
        )
        assert read == ("OK", b"\x00\x01\xff\n\x02", b"rest")
        assert line.query("next?", line.read_line) == "n"


def test_a_late_reply_is_not_taken_for_the_next_answer(conversation):
    """The classic way to a wrong number: time out, go on, and read the old answer."""
    instrument = conversation([(b"slow?\n", b"")], [(b"fast?\n", b"2\n")])
    with line_to(instrument, timeout_s=0.1) as line:
        with pytest.raises(InstrumentError, match=r"no answer to 'slow\?' within 0\.1 s"):
            line.query("slow?", line.read_line)
        assert line.query("fast?", line.read_line) == "2"


def test_bytes_that_nobody_asked_for_do_not_become_an_answer(conversation):
    instrument = conversation([(b"a?\n", b"1\nWARNING: hot\n")], [(b"b?\n", b"2\n")])
    with line_to(instrument) as line:
        assert line.query("a?", line.read_line) == "1"
        _until_readable(line)
        assert line.query("b?", line.read_line) == "2"
        assert line.connects == 2


def test_a_command_is_refused_on_a_line_that_is_out_of_step(conversation):
    instrument = conversation([(b"a?\n", b"1\nWARNING: hot\n")])
    with line_to(instrument) as line:
        assert line.query("a?", line.read_line) == "1"
        _until_readable(line)
        with pytest.raises(InstrumentError, match=r"WARNING: hot' arrived before"):
            line.command("move 1", line.read_line)
    assert instrument.heard == [b"a?\n"]


def test_idle_bytes_between_exchanges_mean_nothing(conversation):
    instrument = conversation([(b"a?\n", b"1\r\n\r\n "), (b"b?\n", b"2\n")])
    with line_to(instrument) as line:
        assert line.query("a?", line.read_line) == "1"
        _until_readable(line)
        assert line.query("b?", line.read_line) == "2"
        assert line.connects == 1


def test_a_query_is_asked_again_after_a_reconnect(conversation):
    instrument = conversation([(b"a?\n", None)], [(b"a?\n", b"1\n")])
    with line_to(instrument) as line:
        assert line.query("a?", line.read_line) == "1"
        assert line.connects == 2


def test_a_query_is_asked_again_only_once(conversation):
    instrument = conversation([(b"a?\n", None)], [(b"a?\n", None)])
    with (
        line_to(instrument) as line,
        pytest.raises(InstrumentError, match="closed by the instrument"),
    ):
        line.query("a?", line.read_line)


def test_a_command_is_never_sent_twice(conversation):
    instrument = conversation([(b"move 1\n", None)], [(b"where?\n", b"0\n")])
    with line_to(instrument) as line:
        with pytest.raises(ConnectionLostError, match=r"closed by the instrument.*'move 1'"):
            line.command("move 1", line.read_line)
        with pytest.raises(ConnectionLostError, match=r"lost before 'move 1'; it was not sent"):
            line.command("move 1", line.read_line)
        assert line.query("where?", line.read_line) == "0"
    assert instrument.heard == [b"move 1\n", b"where?\n"]


def test_a_line_that_was_hung_up_meanwhile_is_noticed_before_a_command(conversation):
    instrument = conversation([(b"a?\n", b"1\n"), (b"", None)])
    with line_to(instrument) as line:
        assert line.query("a?", line.read_line) == "1"
        _until_readable(line)
        with pytest.raises(ConnectionLostError, match="closed by the instrument"):
            line.command("move 1", line.read_line)


def test_an_interrupt_in_the_middle_of_an_exchange_gives_the_connection_up(conversation):
    instrument = conversation([(b"slow?\n", b"")], [(b"fast?\n", b"2\n")])

    def interrupted() -> str:
        raise KeyboardInterrupt

    with line_to(instrument) as line:
        with pytest.raises(KeyboardInterrupt):
            line.query("slow?", interrupted)
        assert line.query("fast?", line.read_line) == "2"


def test_what_is_not_text_is_shown(conversation):
    instrument = conversation([(b"a?\n", b"\xff\xfe\n")])
    with line_to(instrument) as line, pytest.raises(InstrumentError, match=r"\\xff\\xfe.*not text"):
        line.query("a?", line.read_line)


def test_what_has_come_so_far_is_shown(conversation):
    instrument = conversation([(b"a?\n", b"12.")])
    with (
        line_to(instrument, timeout_s=0.1) as line,
        pytest.raises(InstrumentError, match=r", only b'12\.'"),
    ):
        line.query("a?", line.read_line)


def test_a_greeting_is_repeated_on_every_connection(conversation):
    hello = (b"hello\n", b"welcome\n")
    instrument = conversation([hello, (b"a?\n", None)], [hello, (b"a?\n", b"1\n")])

    def greet(line: Line) -> None:
        line.send("hello")
        assert line.read_line() == "welcome"

    with line_to(instrument, on_connect=greet) as line:
        assert line.query("a?", line.read_line) == "1"


def test_two_threads_on_one_line_do_not_mix_their_answers(conversation):
    said = [(b"q?\n", b"answer\n")] * 100
    with line_to(conversation(said)) as line:
        got: list[str] = []
        threads = [
            threading.Thread(
                target=lambda: got.extend(line.query("q?", line.read_line) for _ in range(50))
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == ["answer"] * 100


def test_a_single_quantum_style_stream_of_samples_keeps_its_frames(conversation):
    """Of five samples a peer lost two and cut one in two."""
    samples = [f"{1e5 + k:.1f},{2e5 + k:.1f},0.1\n" for k in range(5)]
    instrument = conversation([(b"go\n", "".join(samples).encode())], cut=9)
    with line_to(instrument) as line:
        got = line.query("go", lambda: [line.read_until(re.compile(rb"\n")) for _ in range(5)])
    assert got == samples


def test_an_address_where_nobody_answers_is_bounded_in_time(monkeypatch):
    """As an instrument that is switched off: a full queue lets a connect hang."""
    monkeypatch.setattr(_line, "CONNECT_TIMEOUT_S", 0.3)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        line = Line(f"tcp://127.0.0.1:{full.getsockname()[1]}", name="device")
        started = time.monotonic()
        with pytest.raises(InstrumentError, match=r"nothing answered within 0\.3 s"):
            line.open()
        assert time.monotonic() - started < 3.0


def test_a_name_server_that_hangs_is_bounded_in_time(monkeypatch):
    monkeypatch.setattr(_line, "CONNECT_TIMEOUT_S", 0.1)
    over = threading.Event()
    monkeypatch.setattr(_line.socket, "getaddrinfo", lambda *_, **__: over.wait(10.0) or [])
    with pytest.raises(InstrumentError, match="the name server does not answer"):
        Line("tcp://anc.lab:7230", name="device").open()
    over.set()


def test_all_addresses_of_a_name_are_tried(conversation):
    """``localhost`` is ::1 first on many machines, where nothing may listen."""
    instrument = conversation([(b"a?\n", b"1\n")])
    port = instrument.address.rpartition(":")[2]
    with Line(f"tcp://localhost:{port}", name="device") as line:
        assert line.query("a?", line.read_line) == "1"


def test_an_ipv6_address_is_understood():
    assert host_and_port("tcp://[fe80::1]:5025") == ("fe80::1", 5025)


def _until_readable(line: Line) -> None:
    """Wait until what the instrument sent, or that it hung up, has arrived."""
    assert line._socket is not None
    assert line._buffer or select.select([line._socket], [], [], 5.0)[0]


class _Endless:
    """A socket of an instrument that sends faster than anybody reads."""

    def __init__(self) -> None:
        self.received = 0

    def setblocking(self, _: bool) -> None:
        pass

    def recv(self, size: int) -> bytes:
        self.received += size
        assert self.received < 100 * _line.MAX_REPLY_BYTES, "it is read for ever"
        return bytes(size)

    def close(self) -> None:
        pass


def test_an_instrument_that_never_stops_sending_is_hung_up_on(conversation, monkeypatch):
    with line_to(conversation([])) as line:
        endless = [_Endless(), _Endless()]
        monkeypatch.setattr(line, "_connect", lambda: setattr(line, "_socket", endless[1]))
        line._socket.close()
        line._socket = endless[0]
        with pytest.raises(InstrumentError, match=r"more than .* bytes arrived before 'a\?'"):
            line.query("a?", line.read_line)  # asks once more after it has connected again
        assert line._socket is None
        assert all(e.received <= 2 * _line.MAX_REPLY_BYTES for e in endless)
