"""One set of weights for every network of a search space."""

from mobilenets.supernet.sandwich import Sandwich
from mobilenets.supernet.scoring import calibrated, scored
from mobilenets.supernet.shared import SharedWeights

__all__ = ["Sandwich", "SharedWeights", "calibrated", "scored"]
