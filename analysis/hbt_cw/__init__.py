"""g2(0) under continuous excitation: the dip, its response and its bunching."""

from .g2_cw import analyse, analyse_file

__all__ = ["analyse", "analyse_file"]
