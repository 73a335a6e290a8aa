"""Secret key rates: single photons, coherent light, and the line between them.

`predict` is the way in; the formulas are plain functions in the modules, numbered as in the
papers that they cite.
"""

from .predict import predict
from .result import ASSUMPTION, Comparison, KeyRate
from .source import SourceFigures

__all__ = ["ASSUMPTION", "Comparison", "KeyRate", "SourceFigures", "predict"]
