"""Choosing among networks. Torch-free: how a candidate is scored is passed in."""

from mobilenets.search.halving import Rung, successive_halving
from mobilenets.search.points import Choices, Point, Value
from mobilenets.search.reward import Objective, dominates, hard_reward, pareto_front, reward
from mobilenets.search.study import Plan, Searcher, Study, Trial, open_study, read_study
from mobilenets.search.working import Worked, work

__all__ = [
    "Choices",
    "Objective",
    "Plan",
    "Point",
    "Rung",
    "Searcher",
    "Study",
    "Trial",
    "Value",
    "Worked",
    "dominates",
    "hard_reward",
    "open_study",
    "pareto_front",
    "read_study",
    "reward",
    "successive_halving",
    "work",
]
