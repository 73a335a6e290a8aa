"""Thorlabs Elliptec ELL14 rotation mounts: the polarisation analyser's wave plates.

A quarter-wave and a half-wave plate before a polarising beam splitter turn any of six states to
detector A. Both mounts are on one serial bus (9600 baud), reached through a serial-to-TCP server
as ``tcp://host:port``; requests have no terminator, replies end with CRLF: ``0ma00008C00`` moves
mount 0 to a quarter of a turn and is answered ``0PO00008C00`` when it is there. Commands after the
ELLx protocol manual; it has not met the real device yet.

A mount knows its angle only after it was at its home position, so the driver homes each mount
after each connect, before its first move. The plates can do no harm at any angle: there is no
`make_safe`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qdchar.errors import InstrumentError, UsageError
from qdchar.roles import ORTHOGONAL, Identity, Reading

from ._arguments import pair, positive, require_known, table
from ._instrument import LineInstrument
from ._line import Line

MOTION_S = 6.0
"""Longest time that homing or a turn takes beyond the timeout [s]."""
TURN_DEG = 360.0
READBACK_DEG = 0.1
_WORDS = 2**32

ANGLES_DEG: Mapping[str, tuple[float, float]] = {
    "H": (0.0, 0.0),
    "V": (0.0, 45.0),
    "D": (45.0, 22.5),
    "A": (45.0, 67.5),
    "R": (0.0, 22.5),
    "L": (0.0, 67.5),
}
"""Fast axes of quarter- and half-wave plate against H, light meeting the quarter-wave plate
first, for each state to leave by the beam splitter's H output."""

_FAULTS = {
    1: "communication time out",
    2: "mechanical time out: the mount is blocked",
    3: "command error",
    4: "value out of range",
    5: "module isolated",
    6: "module out of isolation",
    7: "initialising error",
    8: "thermal error",
    9: "busy",
    10: "sensor error",
    11: "motor error",
    12: "out of range",
    13: "over current",
}


class WavePlateAnalyser(LineInstrument):
    """A quarter-wave and a half-wave plate in two mounts.

    Parameters
    ----------
    address
        ``tcp://host:port`` of the serial-to-TCP server.
    zeros_deg
        Angles of the two mounts, quarter- then half-wave plate, at which the fast axes are along
        H [degrees].
    addresses
        Bus addresses of the two mounts, in the same order.
    angles_deg
        Angles of the fast axes by state, where the optics are not those of `ANGLES_DEG`.
    timeout_s
        How long a reply may take [s].
    """

    def __init__(
        self,
        address: str,
        *,
        zeros_deg: Sequence[float],
        addresses: str = "01",
        angles_deg: Mapping[str, Sequence[float]] | None = None,
        timeout_s: float = 2.0,
    ) -> None:
        if not isinstance(addresses, str) or not re.fullmatch(r"[0-9A-F]{2}", addresses):
            raise UsageError(f"addresses = {addresses!r}: two bus addresses are needed, as in '01'")
        if len(set(addresses)) != len(addresses):
            raise UsageError(f"addresses = {addresses!r}: both mounts have the same address")
        self._addresses = addresses
        zeros = _angles("zeros_deg", zeros_deg)
        given = ANGLES_DEG if angles_deg is None else _angles_by_state(angles_deg)
        self._angles_deg = {
            state: tuple(zero + angle for zero, angle in zip(zeros, angles, strict=True))
            for state, angles in given.items()
        }
        self._line = Line(
            address,
            name="wave plates",
            timeout_s=positive("timeout_s", timeout_s),
            ending=b"",
            on_connect=self._is_expected,
        )
        self._homed_at_connect = {mount: 0 for mount in addresses}
        self._pulses: dict[str, int] = {}

    def identify(self) -> Identity:
        """Ask the first mount who it is."""
        reply = self._ask(self._addresses[0], "in")
        match = _information(reply)
        if match is None:
            raise self._line.unexpected("in", reply, "the identity of an ELL14")
        return Identity(
            vendor="Thorlabs",
            model="ELL14",
            serial=match["serial"],
            firmware=str(int(match["firmware"], 16)),
            address=self._line.address,
            simulated=match["serial"].startswith("S"),
        )

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the angles of both mounts."""
        return {
            f"{name}_wave_deg": self._angle_deg(mount)
            for name, mount in zip(("quarter", "half"), self._addresses, strict=True)
        }

    @property
    def states(self) -> tuple[str, ...]:
        """States that can be turned to detector A."""
        return tuple(self._angles_deg)

    def select(self, state: str) -> None:
        """Turn a state to detector A; returns when both plates are there.

        Raises
        ------
        UsageError
            If there are no angles for the state; nothing was turned.
        InstrumentError
            If a mount does not get there.
        """
        require_known(self._line.label, "state", state, self.states)
        for mount, angle in zip(self._addresses, self._angles_deg[state], strict=True):
            self._turn(mount, angle % TURN_DEG)
        if (found := self.selected()) != state:
            raise InstrumentError(
                f"{self._line.label}: state {state!r} was selected, but the angles, read back, are "
                f"those of {found or 'no state'}. Check that the mounts turn freely"
            )

    def selected(self) -> str:
        """Get the state that is turned to detector A; empty if it is none of them."""
        found = [self._angle_deg(mount) for mount in self._addresses]
        for state, wanted in self._angles_deg.items():
            # a plate that is turned by half a turn is the same plate
            off = [(f - w + 90.0) % 180.0 - 90.0 for f, w in zip(found, wanted, strict=True)]
            if max(map(abs, off)) <= READBACK_DEG:
                return state
        return ""

    def _is_expected(self, line: Line) -> None:
        """Make sure that both mounts are there, and read their pulses per turn."""
        for mount in self._addresses:
            line.send(f"{mount}in")
            reply = line.read_line()
            match = _information(reply)
            if match is None or not reply.startswith(mount):
                raise InstrumentError(
                    f"{self._line.label}: asked '{mount}in', got {reply!r} instead of the identity "
                    "of an ELL14. Check 'address' and 'addresses' in the station file, and that "
                    f"exactly one mount on the bus has the bus address {mount}"
                )
            self._pulses[mount] = int(match["pulses"], 16)

    def _turn(self, mount: str, angle_deg: float) -> None:
        if self._homed_at_connect[mount] != self._line.connects:
            self._move(mount, "ho0")
            self._homed_at_connect[mount] = self._line.connects
        pulses = round(angle_deg / TURN_DEG * self._pulses[mount]) % _WORDS
        self._move(mount, f"ma{pulses:08X}")

    def _move(self, mount: str, command: str) -> None:
        reply = self._line.command(
            f"{mount}{command}", self._line.read_line, timeout_s=self._line.timeout_s + MOTION_S
        )
        self._position(mount, command, reply)

    def _angle_deg(self, mount: str) -> float:
        pulses = self._position(mount, "gp", self._ask(mount, "gp"))
        return pulses / self._pulses[mount] * TURN_DEG

    def _ask(self, mount: str, what: str) -> str:
        return self._line.query(f"{mount}{what}", self._line.read_line)

    def _position(self, mount: str, asked: str, reply: str) -> int:
        match = re.fullmatch(rf"{mount}PO([0-9A-F]{{8}})", reply.strip())
        if match is None:
            fault = re.fullmatch(rf"{mount}GS([0-9A-F]{{2}})", reply.strip())
            meant = f" ({_FAULTS.get(int(fault[1], 16), 'unknown fault')})" if fault else ""
            raise InstrumentError(
                f"{self._line.label}: mount {mount}, asked {asked!r}, got {reply!r}{meant} instead "
                "of a position. Check that the mount turns freely, and its power supply"
            )
        value = int(match[1], 16)
        return value - _WORDS if value >= _WORDS // 2 else value


def _information(reply: str) -> re.Match[str] | None:
    """Parse the reply to ``in``; type 0E is an ELL14."""
    return re.fullmatch(
        r"[0-9A-F]IN0E(?P<serial>\w{8})\d{4}(?P<firmware>[0-9A-F]{2})[0-9A-F]{2}[0-9A-F]{4}"
        r"(?P<pulses>[0-9A-F]{8})",
        reply.strip(),
    )


def _angles(key: str, value: object) -> tuple[float, float]:
    return pair(key, value, "[quarter-wave plate, half-wave plate]", low=-TURN_DEG, high=TURN_DEG)


def _angles_by_state(given: object) -> dict[str, tuple[float, float]]:
    example = "{H = [0.0, 0.0], V = [0.0, 45.0]}"
    states = table("angles_deg", given, example, tuple(ORTHOGONAL))
    return {name: _angles(f"angles_deg.{name}", angles) for name, angles in states.items()}
