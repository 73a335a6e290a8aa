"""Secret key rates: single photons, coherent light, and the line between them.

`predict` and `predict_with_decoy` are the ways in; the formulas are plain functions in the
modules, each with the paper it comes from.
"""

from .predict import predict, predict_with_decoy
from .result import ASSUMPTION, CAVEATS, Comparison, KeyRate
from .source import SourceFigures, source_and_link

__all__ = [
    "ASSUMPTION",
    "CAVEATS",
    "Comparison",
    "KeyRate",
    "SourceFigures",
    "predict",
    "predict_with_decoy",
    "source_and_link",
]
