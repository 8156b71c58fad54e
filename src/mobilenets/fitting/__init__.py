"""The promise: images and a budget in, the most accurate MobileNet that fits out."""

from mobilenets.costs import Budget, parse_budget
from mobilenets.fitting.fit import Fit, fit

__all__ = ["Budget", "Fit", "fit", "parse_budget"]
