"""Choosing among networks. Torch-free: how a candidate is scored is passed in."""

from mobilenets.search.halving import Rung, successive_halving
from mobilenets.search.pricing import priced

__all__ = ["Rung", "priced", "successive_halving"]
