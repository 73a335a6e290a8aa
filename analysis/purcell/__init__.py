"""Purcell factor: lifetimes and count rates against the detuning of the cavity."""

from .purcell_factor import analyse, analyse_runs, lifetime

__all__ = ["analyse", "analyse_runs", "lifetime"]
