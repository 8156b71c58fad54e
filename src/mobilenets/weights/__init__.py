"""Published weights: four projects' names for the same layers, and what travels with them."""

from mobilenets.weights.channels import with_channels
from mobilenets.weights.convert import Converted, convert
from mobilenets.weights.load import load_weights, restore_norm
from mobilenets.weights.names import ORIGINS, Conventions

__all__ = ["ORIGINS", "Conventions", "Converted", "convert", "load_weights", "restore_norm", "with_channels"]
