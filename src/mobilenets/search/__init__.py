"""Choosing among networks. Torch-free: how a candidate is scored is passed in."""

from mobilenets.search.divisor import divisor_of, learned_divisor, probes
from mobilenets.search.halving import Rung, successive_halving
from mobilenets.search.netadapt import Proposal, Rule, Step, able, best, netadapt, proposals
from mobilenets.search.widths import Dimension, dimensions, narrower, narrowest, with_width

__all__ = [
    "Dimension",
    "Proposal",
    "Rule",
    "Rung",
    "Step",
    "able",
    "best",
    "dimensions",
    "divisor_of",
    "learned_divisor",
    "narrower",
    "narrowest",
    "netadapt",
    "probes",
    "proposals",
    "successive_halving",
    "with_width",
]
