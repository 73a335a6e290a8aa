"""Linewidth from etalon scans: the narrow laser for the etalon, then the emission."""

from .linewidth import analyse, analyse_file

__all__ = ["analyse", "analyse_file"]
