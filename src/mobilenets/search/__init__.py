"""Search: many tables, few of them trained. Torch-free: what is slow is passed in."""

from mobilenets.search.divisor import divisor_of, learned_divisor, probes
from mobilenets.search.halving import Rung, successive_halving
from mobilenets.search.netadapt import Proposal, Rule, Step, able, netadapt, proposals, ranked
from mobilenets.search.points import Choices, Point, Value
from mobilenets.search.pricing import priced
from mobilenets.search.reward import Objective, dominates, pareto_front, reward
from mobilenets.search.study import Plan, Searcher, Study, Trial, begun, need_optuna, open_study, read_study
from mobilenets.search.widths import Dimension, dimensions, narrower, narrowest, with_width
from mobilenets.search.working import Worked, work

__all__ = [
    "Choices",
    "Dimension",
    "Objective",
    "Plan",
    "Point",
    "Proposal",
    "Rule",
    "Rung",
    "Searcher",
    "Step",
    "Study",
    "Trial",
    "Value",
    "Worked",
    "able",
    "begun",
    "dimensions",
    "divisor_of",
    "dominates",
    "learned_divisor",
    "narrower",
    "narrowest",
    "need_optuna",
    "netadapt",
    "open_study",
    "pareto_front",
    "priced",
    "probes",
    "proposals",
    "ranked",
    "read_study",
    "reward",
    "successive_halving",
    "with_width",
    "work",
]
