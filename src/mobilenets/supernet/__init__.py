"""One set of weights for every network of a search space."""

from mobilenets.supernet.sandwich import Sandwich
from mobilenets.supernet.scoring import calibrated, scored
from mobilenets.supernet.shared import SharedWeights
from mobilenets.supernet.starting import begin_with, counterparts

__all__ = ["Sandwich", "SharedWeights", "begin_with", "calibrated", "counterparts", "scored"]
