"""One sitting of a `fit`: measure, search, train, export, time again."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from mobilenets.adapting import narrowed
from mobilenets.adapting.state import DELTA
from mobilenets.adapting.state import NAME as ADAPT
from mobilenets.adapting.state import State as Asked
from mobilenets.compression.work import Quantized
from mobilenets.costs import Budget
from mobilenets.data.folder import Folder
from mobilenets.errors import BudgetUnmetError
from mobilenets.exports import Verification, export, sample_images
from mobilenets.exports.shipping import ending_of
from mobilenets.exports.whole import size_bytes
from mobilenets.fitting.architectures import architectures
from mobilenets.fitting.candidates import (
    GONE,
    Candidate,
    candidate_of,
    choose,
    front,
    mark,
    mark_slow,
    spread,
    with_latency,
    worth_trying,
)
from mobilenets.fitting.judging import Meets, lighter, meets, narrowable, over
from mobilenets.fitting.learning import expected_error, extrapolated_error, seconds_per_image
from mobilenets.fitting.proving import answers_on
from mobilenets.fitting.quantizing import quantized
from mobilenets.fitting.relaxed import relaxed, relaxing
from mobilenets.fitting.reporting import Outcome
from mobilenets.fitting.starting import Starts
from mobilenets.fitting.state import State
from mobilenets.latency import Latency, device, table_for, time_artifact, time_networks
from mobilenets.metrics import SPOKEN
from mobilenets.model import MobileNet, load, save, with_info
from mobilenets.precision import Precision
from mobilenets.processors import processors
from mobilenets.search import successive_halving
from mobilenets.search.space import PREFIX
from mobilenets.search.timing import SCORED_PER_S, Clock, Sitting, timed_again, within
from mobilenets.table.json import from_dict, to_dict
from mobilenets.table.rows import Network
from mobilenets.training import STATE, Watcher, execute, load_splits
from mobilenets.training.objectives import Data
from mobilenets.training.state import load_state

TIMING_SHARE = 0.04
"""Part of the training time that timing the candidates' training may take: on a busy machine it is slow too."""
SEARCH_SHARE = 0.2
"""Part of the time after measuring that goes to the search; the winner gets the rest."""
SEARCH_WIDTH = 6
"""Most candidates that are tried on the user's images."""
WARM_IMAGES = 10.0
"""A start from published weights counts as so many times the images: MobileNetV2 at 96 px had 78 % of CIFAR-10 right
after 1.5 minutes from them, and less after 15 minutes from random ones. It only orders candidates."""
ADAPT_SHARE = 0.5
"""Part of the time after the search that NetAdapt gets, its long fine-tuning included."""
LEAST_ADAPT_S = 20.0
"""NetAdapt has as much, whatever is left: it decides whether anything can be shipped."""
ARCHITECTURE_SHARE = 0.5
"""Part of the time after measuring that architecture search gets, to the end of its proxy trainings."""
SEARCHED = 2
"""Searched networks that are tried beside the papers' whatever is expected of them."""
LEAST_TRIAL_S = 10.0
"""Below this a trial says more about the warm-up than about the network: fewer candidates are tried instead."""
ASKED = 16
"""Images whose answers on the device are held against those here."""
INT8_SHARE = 0.15
"""Part of the time left after the search that the ladder of int8 may take, with what it trains."""
CLOSING_S = 8.0
"""Kept for export, verification and the last measurement; scoring the artifact comes on top."""


class Job(Sitting):
    """One sitting of a fit. Phases read what the state already holds, so that resuming skips what is done."""

    def __init__(self, run: Path, state: State, budget: Budget, folder: Folder, watcher: Watcher) -> None:
        scored = len(folder.splits["val"]) + len(folder.splits.get("test", ()))
        super().__init__(state, CLOSING_S + scored / SCORED_PER_S, watcher)
        self.run, self.state, self.folder = run, state, folder
        self.asked_for = budget
        self.budget = relaxed(budget, state.effort)
        self.meets: Meets = partial(meets, budget=budget, precision=state.precision)
        self.device = device(state.device)
        self.ending = ending_of(folder.task)
        self.timed: Precision = "int8" if state.precision == "int8" else "fp32"  # fp16 files compute in fp32
        self.tries = 0
        self.quantized: Quantized | None = None
        self.starts = Starts(state.weights, run / "search", folder, state.seed, watcher.note)

    def work(self, counted: list[Candidate]) -> Outcome:
        """All phases, one after the other."""
        torch.set_num_threads(processors())
        candidates = [narrowable(c, self.meets) for c in self.measure(counted)]
        candidates += self.searched(candidates)
        chosen = self.choose(candidates)
        on_front = [replace(c, status="front") for c in front([c for c in candidates if c.status == "dominated"])]
        candidates = mark(candidates, on_front)
        size = max(c.network.resolution for c in chosen)
        train, val = load_splits(self.folder, size, self.watcher)
        self.squares = train, val
        winner, candidates = self.search(chosen, candidates, train, val)
        while True:
            model = self.train_winner(winner, train, val)
            try:
                shipped, model = self.adapted(winner, model)
            except BudgetUnmetError as error:
                winner, candidates = self.step_down(winner, candidates, str(error), self.meets)
                continue
            artifact, verification = self.export(model)
            latency, file_bytes = self.time_again(artifact), size_bytes(artifact)
            if within(self.asked_for, latency, file_bytes):
                break
            if shipped is winner:
                winner = replace(winner, measured=latency)
            why = over(self.asked_for, shipped, latency, file_bytes)
            light = lighter(self.meets, self.asked_for, shipped, latency, file_bytes)
            winner, candidates = self.step_down(winner, candidates, why, light)
        source = self.starts.source_of(winner)  # of what was trained, before it was made narrower
        if shipped is not winner:
            candidates = [*mark(candidates, [replace(winner, status="tried")]), shipped]
        winner = shipped
        candidates = mark(candidates, [replace(winner, status="winner", measured=latency)])
        answers = None
        if self.state.device != "local":
            self.watcher.phase(f"asking the artifact on {self.state.device}")
            answers = answers_on(self.device, artifact, self.shown[:ASKED], threads=self.state.threads)
        return Outcome(
            winner, candidates, model, artifact, verification, latency, self.tries, train, val, answers, self.quantized,
            source,
        )  # fmt: skip

    def measure(self, counted: list[Candidate]) -> list[Candidate]:
        """Latency of all candidates, most of it predicted; what was measured in an earlier sitting is kept."""
        threads = self.state.threads
        self.watcher.phase("latency table of this device")
        # a search looks at networks that no paper has: the whole table foretells them better
        table = self.table = table_for(
            self.device, task=self.folder.task, threads=threads, precision=self.timed, ending=self.ending,
            quick=self.state.effort != "high", on_progress=self.watcher.advance,
        )  # fmt: skip
        if self.state.measured:
            kept = [
                replace(c, predicted_ms=table.predict_ms(c.network), measured=self.state.measured.get(c.label))
                for c in counted
            ]
            limit = self.budget.latency_ms
            return kept if limit is None else mark_slow(kept, limit)
        self.watcher.phase("measuring candidates")
        with relaxing(self.state.effort):
            known = with_latency(counted, self.budget, table, self.timed_networks)
        self.state.measured = {c.label: c.measured for c in known if c.measured is not None}
        self.keep_time()
        asked = [c for c in known if c.status != "enlarged"]
        alive = [c for c in asked if c.status not in GONE]
        later = f", to be made narrower for {self.asked_for.text}" if self.state.effort != "low" else ""
        self.watcher.note(f"{len(alive)} of {len(asked)} candidates fit {self.budget.text}{later}")
        return known

    def timed_networks(self, networks: Sequence[Network]) -> list[Latency]:
        """Latencies on the device, of networks with random weights."""
        return time_networks(
            self.device, networks, threads=self.state.threads, precision=self.timed, ending=self.ending, runs=50,
            limit_s=0.5, on_progress=self.watcher.advance,
        )  # fmt: skip

    def choose(self, candidates: list[Candidate]) -> list[Candidate]:
        """The candidates of the search; a resumed run keeps those of its first sitting."""
        if not self.state.chosen:
            chosen = choose(candidates, self.learned(candidates), self.search_width(), self.starts.warm)
            found = [c for c in candidates if c.network.name.startswith(PREFIX) and c.status not in GONE]
            new = [c for c in found if c not in chosen][:SEARCHED]  # they have learned on these very images
            chosen = [*new, *chosen]
            self.state.chosen = [c.label for c in chosen]
            self.keep_time()
        by_label = {c.label: c for c in candidates}
        return [by_label[label] for label in self.state.chosen]

    def learned(self, candidates: Sequence[Candidate]) -> Callable[[Candidate], float]:
        """Expected accuracy of each network on the front in the time that is left, by its training speed here."""
        line = worth_trying(candidates, self.starts.warm)
        self.watcher.phase("timing training")
        distinct = len(self.folder.splits["train"])
        seconds = (1 - SEARCH_SHARE) * max(self.left_s() - self.closing_s, 5.0)
        timed, until = self.state.train_s, time.perf_counter() + TIMING_SHARE * seconds
        for i, candidate in enumerate(spread(line)):
            if candidate.label not in timed and (time.perf_counter() < until or not timed):
                timed[candidate.label] = seconds_per_image(candidate.network)
            self.watcher.advance(i + 1, len(line))
        self.keep_time()
        # where there was no time to time one, it takes as long per mac as the others
        per_mac = statistics.median([timed[c.label] / c.macs for c in line if c.label in timed] or [0.0])

        def learned(candidate: Candidate) -> float:
            images = seconds / timed.get(candidate.label, per_mac * candidate.macs)
            head_start = WARM_IMAGES if self.starts.warm(candidate) else 1.0
            return 1 - expected_error(candidate.expected, images, distinct, head_start=head_start)

        return learned

    def search_width(self) -> int:
        """How many candidates the search has time for; at least 1, which is no search."""
        seconds = SEARCH_SHARE * max(self.left_s() - self.closing_s, 0.0)
        width = 1
        while width < SEARCH_WIDTH and seconds / max(1, width.bit_length()) / (width + 1) >= LEAST_TRIAL_S:
            width += 1
        return width

    def search(
        self, chosen: list[Candidate], candidates: list[Candidate], train: Data, val: Data
    ) -> tuple[Candidate, list[Candidate]]:
        """Successive halving over the front, on the user's images; survivors go on from their weights."""
        if self.state.winner is not None:  # a resumed run trains what it began to train
            tried = [replace(c, status="tried", score=self.state.best_score(c.label)) for c in chosen]
            known = mark(candidates, [c for c in tried if c.score is not None])
            return next(c for c in known if c.label == self.state.winner), known
        if len(chosen) == 1:
            self.state.winner = chosen[0].label
            return chosen[0], candidates
        if not self.state.search_s:
            left = self.left_s() - self.closing_s
            self.state.search_s = max(SEARCH_SHARE * left, 2.0 * len(chosen))
            self.state.final_s = max((1 - SEARCH_SHARE) * left, 5.0)
        trained_s: dict[str, float] = {}

        def evaluate(candidate: Candidate, share: float, rung: int) -> float:
            label = candidate.label
            key = f"{rung} {label}"
            if key not in self.state.scores:
                self.watcher.phase(f"search, round {rung}: {label}")
                self.state.scores[key] = self.trial(candidate, share, train, val)
                self.keep_time()
            score = self.state.scores[key]
            trained_s[label] = trained_s.get(label, 0.0) + share
            whole = trained_s[label] + self.state.final_s
            expected = 1 - extrapolated_error(candidate.expected, 1 - score, trained_s[label], whole)
            self.watcher.note(
                f"round {rung}: {label:<44} {SPOKEN[self.folder.task]} {score:6.1%} after {trained_s[label]:.0f} s, "
                f"{candidate.latency_ms:.2f} ms"
            )
            return expected

        winner, _ = successive_halving(chosen, evaluate, seconds=self.state.search_s)
        tried = [replace(c, status="tried", score=self.state.best_score(c.label)) for c in chosen]
        self.state.winner = winner.label
        self.keep_time()
        return next(c for c in tried if c.label == winner.label), mark(candidates, tried)

    def trial(self, candidate: Candidate, seconds: float, train: Data, val: Data) -> float:
        """Train a candidate for some seconds, from its weights of an earlier round where there are some."""
        training = self.starts.training(candidate, seconds, train, val)
        best = training.run(on_tick=self.watcher.tick, on_note=self.watcher.note)
        save(with_info(best, recipe=training.recipe.to_dict()), self.starts.path(candidate))
        return training.best_score

    def train_winner(self, winner: Candidate, train: Data, val: Data) -> MobileNet:
        """The rest of the time for the winner, in a run folder of its own; an interrupted one goes on."""
        run = self.run / "train"
        run.mkdir(exist_ok=True)
        if self.state.trained == winner.label and (run / "best.safetensors").is_file():
            return load(run / "best.safetensors")
        share = 1 - INT8_SHARE if self.state.precision == "int8" else 1.0
        share *= 1 - ADAPT_SHARE if self.state.effort != "low" and not self.meets(winner) else 1.0
        seconds = max(share * (self.left_s() - self.closing_s), 5.0)
        state = run / STATE
        training = self.starts.training(winner, seconds, train, val)
        if state.is_file():
            load_state(training, state)
            whole = training.seconds + seconds
            training.recipe = replace(training.recipe, minutes=whole / 60)
        model = execute(training, run, self.watcher)
        self.state.trained = winner.label
        self.keep_time()
        return model

    def searched(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """With effort `high`: networks that architecture search found, with the weights of their proxy trainings."""
        if self.state.effort != "high":
            return []
        if not self.state.architectures:
            seconds = ARCHITECTURE_SHARE * max(self.left_s() - self.closing_s, 0.0)
            clock = Clock(self.device, self.state.threads, self.timed, self.ending)
            found: list[MobileNet] = []
            try:
                found = architectures(
                    self.run / "architectures", self.state, self.asked_for, self.folder, self.table, clock, seconds,
                    self.watcher,
                )  # fmt: skip
            except BudgetUnmetError as error:  # the papers' networks may fit
                self.watcher.note(f"architecture search found nothing: {error}")
            for model in found:
                save(model, self.starts.kept_at(model.network))
            networks = [model.network for model in found]
            self.state.measured |= {
                network.label: latency for network, latency in zip(networks, self.timed_networks(networks), strict=True)
            }
            self.state.searched = [to_dict(network) for network in networks]
            self.state.architectures = True
            self.keep_time()
        made = []
        for values in self.state.searched:
            network = from_dict(values, where=str(self.state.path))
            latency = self.state.measured[network.label]
            # no paper says what it reaches: as much as what is as fast, and the search on the images says the rest
            known = [c.expected for c in candidates if c.latency_ms <= latency.median_ms]
            new = candidate_of(network, self.state.precision, max(known, default=0.0))
            made.append(replace(new, predicted_ms=self.table.predict_ms(network), measured=latency))
        limit = self.budget.latency_ms
        return made if limit is None else mark_slow(made, limit)

    def adapted(self, winner: Candidate, model: MobileNet) -> tuple[Candidate, MobileNet]:
        """With more than the least effort: the trained winner made narrower until it meets the budget asked for."""
        if self.state.effort == "low":
            return winner, model
        share = 1 - INT8_SHARE if self.state.precision == "int8" else 1.0  # the ladder comes after, once
        asked = Asked(
            self.run / "adapted" / ADAPT, "", self.state.data, self.state.budgets,
            max(share * self.working_s(), LEAST_ADAPT_S) / 60, DELTA, "ratio", self.state.device,
            self.state.precision, self.state.threads, self.state.seed,
        )  # fmt: skip
        clock = Clock(self.device, self.state.threads, self.timed, self.ending)
        narrow = narrowed(model, self.folder, asked, clock, self.table, self.watcher)
        self.keep_time()
        if narrow is model:  # it meets the budget as it is
            return winner, model
        made = candidate_of(narrow.network, self.state.precision, winner.expected)
        return replace(made, predicted_ms=self.table.predict_ms(narrow.network)), narrow

    def export(self, model: MobileNet) -> tuple[Path, Verification]:
        """Checkpoint and artifact, verified on the validation images."""
        self.watcher.phase("exporting and verifying")
        paths = [sample.path for sample in self.folder.splits["val"]]
        self.shown = sample_images(model, paths)
        save(model, self.run / "model.safetensors")
        artifact, precision = self.run / "model.onnx", self.state.precision
        verification = export(model, artifact, images=self.shown, precision="fp16" if precision == "fp16" else "fp32")
        if precision != "int8":
            return artifact, verification
        minutes = max(self.left_s() - self.closing_s, 0.0) / 60
        done = self.quantized = quantized(model, artifact, self.state, self.folder, self.squares, minutes, self.watcher)
        if done.verification is None:
            self.watcher.note(f"no technique holds int8 within {100 * self.state.max_drop:g} points: float is kept.")
            return artifact, verification
        save(done.model, self.run / "model.safetensors")
        return done.artifact, done.verification

    def time_again(self, artifact: Path) -> Latency:
        """The artifact's latency; where it is over the budget it is asked three times, and the best median counts."""
        self.watcher.phase("timing the artifact")
        threads = self.state.threads
        latency, self.tries = timed_again(
            lambda: time_artifact(self.device, artifact, threads=threads, seconds=3.0), self.asked_for
        )
        return latency

    def step_down(
        self, winner: Candidate, candidates: list[Candidate], why: str, light: Callable[[Candidate], bool]
    ) -> tuple[Candidate, list[Candidate]]:
        """The next best candidate that is light enough; what was made of the winner is removed.

        Raises:
            BudgetUnmetError: there is none.
        """
        for path in (self.run / "model.onnx", self.run / "model.int8.onnx", *(self.run / "quantize").glob("*")):
            path.unlink(missing_ok=True)
        self.state.stepped_down.append(winner.label)
        candidates = mark(candidates, [replace(winner, status="slow", reason="over the budget after training")])
        smaller = [
            c
            for c in candidates
            if c.status in ("front", "tried") and c.label not in self.state.stepped_down and light(c)
        ]
        if not smaller:
            raise BudgetUnmetError(f"{why} No smaller candidate is left: raise the budget or try again.")
        down = max(smaller, key=lambda c: (c.score is not None, c.score or 0.0, c.expected))
        self.watcher.note(f"{why} Stepping down to {down.label}, with a quarter of the time on top.")
        (self.run / "train" / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.run / "adapted", ignore_errors=True)
        self.state.winner = down.label
        self.state.minutes += 0.25 * self.state.minutes  # it was trained for nothing: a quarter of the time again
        self.keep_time()
        return down, candidates
