"""Published weights: four projects' names for the same layers, and what travels with them; narrower networks."""

from mobilenets.weights.channels import with_channels
from mobilenets.weights.convert import Converted, convert
from mobilenets.weights.inherit import estimate_norm, inherit
from mobilenets.weights.load import load_weights, restore_norm
from mobilenets.weights.names import ORIGINS, Conventions

__all__ = [
    "ORIGINS",
    "Conventions",
    "Converted",
    "convert",
    "estimate_norm",
    "inherit",
    "load_weights",
    "restore_norm",
    "with_channels",
]
