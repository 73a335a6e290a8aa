"""Power meter of the simulated lab's pump: its gain, zero, nonlinearity and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from .imperfections import METER_LINEARITY, METER_ZERO_LEFT_W, Imperfections

ZERO_W = 20e-12
GAIN_POWER_W = 1e-5
TAP = 0.005
_TAP_RAD_PER_s = 2.0 * math.pi / 900.0

_NOISE, _NOISE_W = 0.005, 1e-12
"""Of a reading: relative, and without light."""


@dataclass(frozen=True)
class PowerMeter:
    """What one power meter has of errors beside its gain.

    Attributes
    ----------
    zero_W
        Reading without light.
    zero_left_W
        Further reading without light while the pump's shutter is open.
    linearity
        Relative change of true power over reading per factor of ten in power.
    tap, tap_rad
        Amplitude and phase of the relative change of the power at the dot over that at the meter.
    """

    zero_W: float
    zero_left_W: float
    linearity: float
    tap: float
    tap_rad: float

    @classmethod
    def from_seed(
        cls, sizes: Imperfections, known: Mapping[str, float], seed: np.random.SeedSequence
    ) -> Self:
        """Draw those of a lab, about the `known` values of its certificates."""
        rng = np.random.default_rng(seed)
        zero, left, linearity = rng.standard_normal(3)
        return cls(
            zero_W=sizes.meter_zero * ZERO_W * math.copysign(1.0 + 0.3 * abs(zero), zero),
            zero_left_W=known["power_meter_zero"]
            + sizes.meter_zero * METER_ZERO_LEFT_W * float(left),
            linearity=known["power_meter_linearity"]
            + sizes.meter_linearity * METER_LINEARITY * float(linearity),
            tap=sizes.power_tap * TAP * math.sqrt(2.0),
            tap_rad=rng.uniform(0.0, 2.0 * math.pi),
        )

    def power_W(self, at_dot_W: float, time_s: float) -> float:
        """Return the power on the meter [W], from that at the dot."""
        return at_dot_W / (1.0 + self.tap * math.sin(self.tap_rad + _TAP_RAD_PER_s * time_s))

    def reading_W(
        self, power_W: float, response: float, shutter_open: bool, rng: np.random.Generator
    ) -> float:
        """Return a reading with its noise.

        Parameters
        ----------
        power_W
            On the meter.
        response
            Reading over power at the power of the gain's certificate.
        shutter_open
            Whether the pump's shutter is.
        rng
            Of the noise.
        """
        noise, floor = rng.standard_normal(2)
        per_decade = self.linearity * math.log10(power_W / GAIN_POWER_W) if power_W > 0.0 else 0.0
        read = power_W * response / (1.0 + per_decade) * (1.0 + _NOISE * noise)
        zero_W = self.zero_W + (self.zero_left_W if shutter_open else 0.0)
        return float(read + zero_W + _NOISE_W * floor)
