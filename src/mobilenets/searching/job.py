"""One sitting of a `search`: space, shared weights, study, and the rungs up to trained, proven files."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from mobilenets.data.folder import Folder
from mobilenets.data.subset import subset
from mobilenets.errors import BudgetUnmetError
from mobilenets.files import write_text
from mobilenets.latency import Latency, time_networks
from mobilenets.metrics import SPOKEN
from mobilenets.model import MobileNet, load, save, with_info
from mobilenets.model.store import FORMAT, read_safetensors
from mobilenets.search import Plan, Trial, open_study, work
from mobilenets.search.timing import SCORED_PER_S, Clock, Costs, Sitting
from mobilenets.searching.finishing import Found, finished
from mobilenets.searching.ladder import Rung
from mobilenets.searching.looking import StudyProgress
from mobilenets.searching.narrowing import WANTED_LOAD, load_in, space_for
from mobilenets.searching.state import State
from mobilenets.searching.terms import Terms, digest_of, read_terms, write_terms
from mobilenets.supernet import Sandwich, SharedWeights, begin_with, calibrated, scored
from mobilenets.table import json as table_json
from mobilenets.table import scale, with_classes
from mobilenets.table.rows import Network
from mobilenets.training import STATE, Recipe, Training, Watcher, execute, load_splits
from mobilenets.training.objectives import Data
from mobilenets.training.recipe import Dense, for_images
from mobilenets.training.start import Start, begin_from, calibrate
from mobilenets.training.state import load_state
from mobilenets.zoo import network as network_named

TABLE = "latency.json"
"""The latency table that networks are priced by, in the run folder."""
SHARED_UNTIL, STUDY_UNTIL, PROXY_UNTIL = 0.5, 0.6, 0.7
"""Parts of the time by which shared weights, study and proxy trainings are to be over; the rest trains what is kept."""
JOINED = 0.15
"""Part of the time by which a study that others can join is over later: they come when the shared weights are there."""
PROXIED = 6
"""Networks that the study hands on."""
MEASURED = 6
"""How often as many more are measured, until enough are within the budget."""
MOST_TRIALS = 1_000_000
TRIALS_WANTED, LEAST_SCORED, MOST_SCORED = 600, 200, 2000
"""The validation images of a trial are as many as leave time for so many trials."""
SHARED_LR, PROXY_LR, FULL_LR = 0.1, 0.1, 0.3
"""Peak rates of classifiers, SGD at batch size 64; few images have AdamW at the same parts of its rate."""
MARGIN = 0.97
"""Part of a latency budget within which the chosen are measured: trained files are timed again in another hour."""
INT8_SHARE = 0.15
"""Part of the time that the ladder of int8 may take, with what it trains."""
LEAST_S = 3.0
"""For each rung, however little time there is."""
WARM = 0.2
"""Factor of these rates where the weights come from a trained network."""
CLOSING_S = 10.0
"""Kept for export, verification and the last measurement of each network; scoring the file comes on top."""


class Job(Sitting):
    """One sitting. What the run folder holds already is not done again."""

    def __init__(
        self, run: Path, state: State, folder: Folder, costs: Costs, clock: Clock, watcher: Watcher,
        begun: float | None = None,
    ) -> None:  # fmt: skip
        self.run, self.state, self.folder = run, state, folder
        self.costs, self.clock = costs, clock
        self.metric = SPOKEN[folder.task]
        splits = len(folder.splits["val"]) + len(folder.splits.get("test", ()))
        self.int8_s = INT8_SHARE * 3600 * state.asked.hours if state.asked.precision == "int8" else 0.0
        closing_s = self.int8_s + state.asked.keep * (CLOSING_S + splits / SCORED_PER_S)
        super().__init__(state, closing_s, watcher, begun)
        self.until_end_s = 60 * state.minutes - closing_s
        self.later = JOINED if state.asked.study else 0.0

    def until_s(self, part: float) -> float:
        """Seconds from now to a part of the time; never less than a few."""
        return max(part * self.until_end_s - self.spent_s(), LEAST_S)

    def limit_to(self, seconds: float) -> None:
        """All rungs together take so many seconds from now on, instead of the hours that were asked for."""
        self.until_end_s = self.spent_s() + seconds

    def prepare(self) -> None:
        """The space, narrowed to the budget; the images; the shared weights, untrained; the study, opened."""
        self.space = space_for(self.folder, self.state, self.costs, self.timed, self.watcher)
        self.keep_time()
        size = max(int(value) for value in self.space.choices["resolution"])
        self.train, self.val = load_splits(self.folder, size, self.watcher)
        self.shared = SharedWeights(self.space, self.folder.classes, self.folder.task, seed=self.state.asked.seed)
        self.study = open_study(self.state.asked.study or self.run / "study.log", plan_of(self))
        self.study.ledger.close()  # the shared weights are trained first

    def work(self) -> list[Found]:
        """All rungs."""
        self.learn_shared()
        self.explore()
        self.choose()
        if len(self.state.chosen) > self.state.asked.keep:  # else there is nothing to choose between
            self.proxy()
        minutes = self.int8_s / 120 / self.state.asked.keep
        return [
            finished(
                model, self.folder_of(name), self.state.asked, self.costs.budget, self.folder, self.clock, minutes,
                self.watcher,
            )
            for name, model in self.train_kept()
        ]  # fmt: skip

    # ------------------------------------------------------------------ what networks cost

    def timed(self, networks: Sequence[Network]) -> list[Latency]:
        """Latencies of networks on the device, with random weights."""
        clock = self.clock
        return time_networks(
            clock.device, networks, threads=clock.threads, precision=clock.precision, ending=clock.ending,
            on_progress=self.watcher.advance,
        )  # fmt: skip

    # ------------------------------------------------------------------ shared weights and the study

    def learn_shared(self) -> None:
        """Train the weights that all networks of the space share; an interrupted training goes on."""
        path, state = self.run / "shared.safetensors", self.state
        done = path.is_file() and read_terms(path) is not None  # ours, or given: all workers score by the same
        if not state.shared_s and not done:
            state.shared_s = self.until_s(SHARED_UNTIL)
            self.keep_time()
        if not path.is_file():
            self._begin_with_weights()
        load_ = load_in(self.space, self.costs)
        recipe = self.recipe(max(state.shared_s, LEAST_S), SHARED_LR)
        training = Sandwich(self.shared, recipe, self.train, wanted=lambda p: load_(p) <= WANTED_LOAD)
        if path.is_file():
            training.restore(path)
        if done:
            return
        if training.fraction < 1.0:
            self.watcher.phase("training shared weights")
            training.run(path, on_tick=self.watcher.tick)
            self.watcher.note(
                f"shared weights: {training.steps} steps, {training.epochs:.1f} epochs, {training.seconds:.0f} s, "
                f"{training.ratio:.2f} times the largest network's"
            )
        self._decide_scored()
        write_terms(path, self.terms())
        if state.asked.study:
            self.watcher.note(f"other machines can join the study now: the same command with --worker --shared {path}")

    def _begin_with_weights(self) -> None:
        """Put what `weights` names into the shared weights: a checkpoint's, or MobileNetV2's published ones."""
        source, classes = self.state.asked.weights, self.folder.classes
        size = max(int(value) for value in self.space.choices["resolution"])
        table = with_classes(scale(network_named("mobilenet_v2"), 1.0, size), len(classes))
        own = Path(source).is_file() and read_safetensors(Path(source))[1].get("format") == FORMAT
        if own:
            begun = Start(load(source), source)
        else:
            begun = begin_from(table, classes, source, seed=self.state.asked.seed, note=self.watcher.note)
        if begun.source is None:
            return
        calibrate(begun, self.train)
        rows = begin_with(self.shared, begun.model)
        self.state.source = begun.source
        self.watcher.note(f"shared weights begin with {rows} rows of {begun.model.network.label}, {begun.source}")
        self.keep_time()

    def terms(self) -> Terms:
        """What other workers must have alike."""
        state, asked, table = self.state, self.state.asked, self.run / TABLE
        return Terms(
            state.search, self.folder.task, tuple(self.folder.classes), digest_of(self.folder), self.costs.budget.text,
            asked.precision, state.base, state.choices, state.anchors, state.factor, state.error, state.scored,
            table.read_text(encoding="utf-8") if table.is_file() else None, state.source,
        )  # fmt: skip

    def recipe(self, seconds: float, lr: float) -> Recipe:
        """How networks of the space are trained."""
        if self.folder.task in ("detect", "segment"):
            return Dense(minutes=seconds / 60, seed=self.state.asked.seed, layer_decay=1.0, head_first=0.0)
        lr *= WARM if self.state.source is not None else 1.0
        plain = Recipe(minutes=seconds / 60, lr=lr, low_resolution=1.0, seed=self.state.asked.seed)
        return for_images(plain, len(self.train))

    def explore(self, *, until: float | None = None) -> None:
        """Look at networks by shared weights until the study is over.

        Args:
            until: part of the time; None for that of a run that trains what it chooses.
        """
        state, asked, study = self.state, self.state.asked, self.study
        if state.chosen:
            return
        val = self._scored_images(state.scored)
        seconds = self.until_s(STUDY_UNTIL + self.later if until is None else until)
        self.watcher.phase("scoring networks by shared weights")
        progress = StudyProgress(study, self.metric, asked.trials, seconds, self.watcher)
        begin = time.perf_counter()
        try:
            worked = work(
                study, load_in(self.space, self.costs), lambda point: scored(self.shared, point, self.train, val),
                trials=asked.trials or MOST_TRIALS, seconds=seconds, seed=asked.seed, on_trial=progress.told,
                canonical=self.space.canonical,
            )  # fmt: skip
        finally:
            state.explored_s += time.perf_counter() - begin
            self.keep_time()
        self.watcher.note(
            f"{len(study.trials())} networks scored in {worked.seconds:.0f} s; the searcher's own share is "
            f"{worked.share:.1%}"
        )
        if worked.ended == "closed":
            self.watcher.note("the run that ends this search has chosen: what is scored from now on would not count")

    def _decide_scored(self) -> None:
        """How many validation images the trials are scored on: as many as the time allows."""
        if self.state.scored:
            return
        few, point = self._scored_images(LEAST_SCORED), self.space.draw(Random(2))
        begin = time.perf_counter()
        calibrated(self.shared, point, self.train)
        fixed_s = time.perf_counter() - begin
        begin = time.perf_counter()
        scored(self.shared, point, self.train, few)
        each_s = max(time.perf_counter() - begin - fixed_s, 1e-3) / len(few)
        afford = (self.until_s(STUDY_UNTIL + self.later) / TRIALS_WANTED - fixed_s) / each_s
        self.state.scored = int(min(len(self.val), MOST_SCORED, max(LEAST_SCORED, afford)))
        self.keep_time()

    def _scored_images(self, images: int) -> Data:
        """So many validation images, the same on every machine."""
        order = np.random.default_rng(0).permutation(len(self.val))
        return subset(self.val, np.sort(order[:images]))

    def choose(self) -> None:
        """The best of the study that measure within the budget go on to the next rung."""
        if self.state.chosen:
            return
        by_name: dict[str, Trial] = {}
        self.study.ledger.end()
        for trial in self.study.ranked():
            by_name.setdefault(self.space.network(trial.point).name, trial)
        if not any(trial.load <= 1.0 for trial in by_name.values()):
            raise BudgetUnmetError(
                f"no network within {self.costs.budget.text} was looked at: raise the budget, or give the search more "
                "--hours."
            )
        fits = self._measured({name: (self.space.network(t.point), t.load) for name, t in by_name.items()})
        self.state.chosen = {name: by_name[name].point for name in fits[:PROXIED]}
        self.state.rungs |= {f"shared {name}": by_name[name].accuracy for name in self.state.chosen}
        self.keep_time()

    def _measured(self, ranked: Mapping[str, tuple[Network, float]]) -> list[str]:
        """Names of networks that are within the budget by measurement, best first.

        What a study ends with is what the table thinks too well of. So the best are measured a few at a time, and what
        that says of them decides who is measured next.

        Args:
            ranked: networks and loads by prediction, best first.
        """
        limit_ms, known, ratio = self.costs.budget.latency_ms, self.state.measured_ms, 1.0
        if limit_ms is None:
            return [name for name, (_, load_) in ranked.items() if load_ <= 1.0]
        fits: list[str] = []
        for _ in range(MEASURED):
            names = [n for n, (_, load_) in ranked.items() if n not in known and load_ <= 1.0 and ratio * load_ <= 1.0]
            if not (names := names[: 2 * PROXIED]):
                break
            self.watcher.phase("measuring the best", len(names))
            found = self.timed([ranked[name][0] for name in names])
            known |= {name: latency.median_ms for name, latency in zip(names, found, strict=True)}
            fits = [n for n in ranked if n in known and known[n] <= MARGIN * limit_ms and self.met(ranked[n][0])]
            if len(fits) >= PROXIED:
                break
            ratio = statistics.median(known[name] / self._predicted_ms(ranked[name][0]) for name in known)
        fits = fits or [n for n in ranked if n in known and self.met(ranked[n][0])]
        if not fits:
            fits = [min(known, key=known.__getitem__)]
            self.watcher.note(
                f"none of {len(known)} networks measures within {self.costs.budget.text}: the fastest, of "
                f"{known[fits[0]]:.2f} ms, goes on"
            )
        return fits

    def _predicted_ms(self, network: Network) -> float:
        predicted = self.costs.latency_ms(network)
        assert predicted is not None
        return predicted

    def met(self, network: Network) -> bool:
        """Whether a network is within the budget, by measurement where there is one."""
        measured = self.state.measured_ms.get(network.name)
        if measured is None:
            return self.costs.load(network) <= 1.0
        return self.costs.measured(network, measured, self.clock.file_bytes(network))[1] <= 1.0

    # ------------------------------------------------------------------ trainings

    def folder_of(self, name: str) -> Path:
        """Where all of one network is kept."""
        return self.run / "networks" / name

    def proxy(self) -> None:
        """A few minutes of training for each chosen network, from its shared weights."""
        names = list(self.state.chosen)
        missing = [name for name in names if name not in self.state.rung("proxy")]
        for i, name in enumerate(missing):
            seconds = self.until_s(PROXY_UNTIL + self.later) / (len(missing) - i)
            self.watcher.phase(f"proxy training {names.index(name) + 1} of {len(names)}: {name}")
            model = calibrated(self.shared, self.state.chosen[name], self.train)
            training = Training(model, self.recipe(seconds, PROXY_LR), self.train, self.val)
            trained = training.run(on_tick=self.watcher.tick, on_note=self.watcher.note)
            told = with_info(trained, recipe=training.recipe.to_dict())
            save(told, self.folder_of(name) / "proxy.safetensors")
            self.told("proxy", name, training.best_score)

    def told(self, rung: Rung, name: str, score: float) -> None:
        """Keep a score."""
        self.state.rungs[f"{rung} {name}"] = score
        self.keep_time()
        before = self.state.rung("shared").get(name)
        by = "" if before is None else f" (shared weights: {before:.1%})"
        took = f", {self.state.measured_ms[name]:.2f} ms" if name in self.state.measured_ms else ""
        self.watcher.note(f"{rung}: {name} {self.metric} {score:.1%}{by}{took}")

    def ranked(self) -> list[str]:
        """Names of the chosen networks, best first by their proxy trainings."""
        by_proxy = self.state.rung("proxy")
        return sorted(self.state.chosen, key=lambda name: -by_proxy.get(name, 0.0))

    def train_kept(self) -> list[tuple[str, MobileNet]]:
        """The rest of the time for what is kept; each in a run folder of its own, an interrupted one goes on."""
        names = self.ranked()[: self.state.asked.keep]
        if not self.state.full_s:
            self.state.full_s = self.until_s(1.0) / len(names)
            self.keep_time()
        found = []
        for name in names:
            run = self.folder_of(name) / "train"
            run.mkdir(parents=True, exist_ok=True)
            write_text(run.parent / "table.json", table_json.dumps(self.space.network(self.state.chosen[name])))
            if name in self.state.rung("full") and (run / "best.safetensors").is_file():
                found.append((name, load(run / "best.safetensors")))
                continue
            before = self.folder_of(name) / "proxy.safetensors"
            model = load(before) if before.is_file() else calibrated(self.shared, self.state.chosen[name], self.train)
            training = Training(model, self.recipe(self.state.full_s, FULL_LR), self.train, self.val)
            if (run / STATE).is_file():
                load_state(training, run / STATE, note=self.watcher.note)
            found.append((name, execute(training, run, self.watcher)))
            self.told("full", name, training.best_score)
        return found


def plan_of(job: Job) -> Plan:
    """What the workers of a study must agree on."""
    asked = job.state.asked
    return Plan(
        job.space.choices, objective=asked.objective, searcher=asked.searcher, budget=job.costs.budget.text,
        exponent=asked.exponent, most_load=WANTED_LOAD, search=job.state.search,
    )  # fmt: skip
