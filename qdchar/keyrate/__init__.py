"""Secret key rates of single photons and of coherent light, and which of the two is ahead.

Start with `predict` and `predict_with_decoy`. The formulas are plain functions, each with the paper
that it comes from: `single_photon` and `decoy` hold the protocols, `measured` the key of measured
counts, `published` the literature's numbers. `comparators` names the protocols for coherent light,
`crossing` finds the loss at which a lead ends, `advantage` maps it over <n> and g2.
"""

from .assumptions import prediction_assumptions
from .predict import predict, predict_with_decoy
from .result import Comparison, KeyRate
from .source import SourceFigures, source_and_link

__all__ = [
    "Comparison",
    "KeyRate",
    "SourceFigures",
    "predict",
    "predict_with_decoy",
    "prediction_assumptions",
    "source_and_link",
]
