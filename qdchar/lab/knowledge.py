"""What an analysis of the lab may ask for besides its raw data: quantities and certificates.

A session knows them while it measures; a run folder knows them afterwards. Both answer the same
questions, so that a file of a run is analysed again as the run did it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from qdchar import analysis
from qdchar.analysis.models.power_monitor import MeterErrors
from qdchar.estimate import Estimate


class Knowledge(ABC):
    """Quantities found so far, certificates, and what follows from them."""

    @abstractmethod
    def maybe(self, quantity: str) -> Estimate | None:
        """Return a quantity if it is known."""

    @abstractmethod
    def certificate(self, name: str) -> Estimate:
        """Return a certificate of the station."""

    @property
    @abstractmethod
    def nominal_clock_Hz(self) -> float:
        """Pulse rate as the station file says [1/s]."""

    @property
    @abstractmethod
    def wavelength_m(self) -> float:
        """Wavelength of the source in vacuum [m]."""

    def known(self, quantity: str) -> Estimate:
        """Return a quantity that was found.

        Raises
        ------
        LookupError
            If it is not known: the measurement that asks for it does not declare that it needs it.
        """
        estimate = self.maybe(quantity)
        if estimate is None:
            raise LookupError(
                f"{quantity} is not known; a measurement that asks for it declares it in `needs`"
            )
        return estimate

    def clock_rate_Hz(self) -> float:
        """Pulse rate as measured, nominal until then [1/s]."""
        known = self.maybe("clock_rate")
        return self.nominal_clock_Hz if known is None else known.value

    def dead_pulses(self, *, of_source: bool = True) -> float:
        """Pulses for which a detector is dead after a click, of the source or of steady light."""
        q = self.on_fraction().value if of_source else 1.0
        return analysis.dead_time.dead_pulses(
            self.known("dead_time"), self.clock_rate_Hz(), q, self.maybe("dead_pulses")
        )

    def on_fraction(self) -> Estimate:
        """Part of the time that the source is on, 1 until it is known to blink."""
        return analysis.dead_time.source_on_fraction(self.maybe("blinking_amplitude"))

    def meter_errors(self) -> MeterErrors:
        """Return what the certificates of the power meter say beside its gain."""
        return MeterErrors(
            zero=self.certificate("power_meter_zero"),
            linearity=self.certificate("power_meter_linearity"),
            gain_power=self.certificate("power_meter_gain_power"),
            tap=self.certificate("power_tap"),
        )
