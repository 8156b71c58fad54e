"""Searchers by name: regularized evolution, and samplers of Optuna.

A sampler sees a study of its own in this process's memory, which holds what is complete in the shared one. So asking
again costs no write and no locks, and any sampler of Optuna works in a study that many machines share.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from mobilenets.search.evolution import RegularizedEvolution
from mobilenets.search.points import Choices, Point
from mobilenets.search.reward import pareto_front
from mobilenets.search.study import Searcher

NAME = "search"
TPE_SEES = 150  # latest trials: its time grows with their number, and it gives old ones little weight
TPE_BEST = 25  # all that it ever counts among the good


def distributions(choices: Choices) -> dict[str, CategoricalDistribution]:
    """The space as Optuna writes it."""
    return {name: CategoricalDistribution(values) for name, values in choices.items()}


class Proposer:
    """A searcher and the study that it sees.

    Args:
        searcher: by name.
        choices: of the space.
        directions: "maximize" or "minimize" per value.
        population: of evolution and NSGA-II.
        sample: of evolution.
    """

    def __init__(
        self, searcher: Searcher, choices: Choices, directions: Sequence[str], *, population: int, sample: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._searcher: Searcher = searcher
        self._population = population
        self._evolution = RegularizedEvolution(choices, population=population, sample=sample)
        self._space = distributions(choices)
        # every trial sets every choice: there is nothing to infer from trials, which takes long when they are many
        self._open = {name: values for name, values in self._space.items() if not values.single()}
        self._directions = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
        self._told: list[Any] = []
        self._open_study()
        self._trial: Any = None
        self.seed(0)

    @property
    def asks(self) -> int:
        """How often it is worth asking for a point that fits before its proposals are mutated: what it costs to ask."""
        match self._searcher:
            case "random":
                return 1000
            case "evolution":
                return 100
            case "tpe" | "nsga2":
                return 4

    def seed(self, seed: int) -> None:
        """Begin the draws anew."""
        self._rng = random.Random(seed)
        self._sampler = self._built(seed)
        self.begin()

    def _open_study(self) -> None:
        self._storage = optuna.storages.InMemoryStorage()
        self._study_id = self._storage.create_new_study(self._directions, NAME)
        # the one trial that is asked about, again and again; what is learnt is added beside it
        self._trial_id = self._storage.create_new_trial(self._study_id)

    def _built(self, seed: int) -> Any:
        match self._searcher:
            case "tpe":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=False)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=self._population)
            case "random" | "evolution":
                return optuna.samplers.RandomSampler(seed=seed)

    def learn(self, number: int, point: Point, values: Sequence[float], marks: Mapping[str, Any]) -> None:
        """A trial of the shared study is complete.

        Args:
            number: of the trial, in the order of starting.
            point: what was evaluated.
            values: one per direction.
            marks: what the searcher noted when it was proposed.
        """
        if self._searcher in ("evolution", "random"):  # Optuna copies all distributions with each trial that it is told
            signed = zip(values, self._directions, strict=True)
            scores = [v if direction == optuna.study.StudyDirection.MAXIMIZE else -v for v, direction in signed]
            self._evolution.learn(number, point, scores)
            return
        trial = create_trial(params=point, distributions=self._space, values=list(values), system_attrs=dict(marks))
        self._told.append(trial)
        if self._searcher == "tpe" and len(self._told) > 2 * TPE_SEES:
            self._told = self._worth_seeing()
            self._open_study()
            told = self._told
        else:
            told = [trial]
        for one in told:
            self._storage.create_new_trial(self._study_id, template_trial=one)

    def _worth_seeing(self) -> list[Any]:
        """The latest, and of those before the best: TPE tells these from the rest."""
        before = self._told[:-TPE_SEES]
        if len(self._directions) == 1:
            best = sorted(before, key=lambda trial: -trial.values[0])[:TPE_BEST]
        else:
            best = pareto_front(before, lambda trial: (trial.values[0], trial.values[1]))
        return best + self._told[-TPE_SEES:]

    def begin(self) -> None:
        """A new point is wanted."""
        if self._searcher == "evolution":
            return
        trial = copy.copy(self._storage.get_trial(self._trial_id))
        trial.system_attrs = {}
        self._trial = trial
        # a study remembers the trials it was asked for first
        self._study = optuna.load_study(study_name=NAME, storage=self._storage, sampler=self._sampler)
        self._sampler.before_trial(self._study, trial)

    def ask(self) -> Point:
        """A point, stored nowhere; ask again for another."""
        if self._searcher == "evolution":
            return self._evolution.ask(self._rng)
        relative = self._sampler.sample_relative(self._study, self._trial, self._open)
        return {
            name: relative[name]
            if name in relative
            else self._sampler.sample_independent(self._study, self._trial, name, distribution)
            for name, distribution in self._space.items()
        }

    @property
    def marks(self) -> dict[str, Any]:
        """What the searcher noted about the point, as NSGA-II its generation: to be kept with the trial."""
        return dict(self._storage.get_trial(self._trial_id).system_attrs)
