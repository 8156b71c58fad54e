"""Choosing among networks. Torch-free: how a candidate is scored is passed in."""

from mobilenets.search.halving import Rung, successive_halving

__all__ = ["Rung", "successive_halving"]
