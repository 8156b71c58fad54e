"""One sitting of an `adapt`: steps down to the budget, the long fine-tuning, the file, timed and proven."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from mobilenets.adapting.learning import SCORING_SHARE, Classroom, Speed, tuning_recipe
from mobilenets.adapting.outcome import Outcome
from mobilenets.adapting.pacing import pace_of
from mobilenets.adapting.pictures import draw
from mobilenets.adapting.state import State
from mobilenets.adapting.trajectory import Kept, keep, note, steps
from mobilenets.adapting.turns import Turns
from mobilenets.compression.quantize import quantize
from mobilenets.compression.work import Quantized
from mobilenets.data.cache import Squares
from mobilenets.data.folder import Folder
from mobilenets.errors import BudgetUnmetError
from mobilenets.exports import Verification, export, sample_images
from mobilenets.exports.whole import size_bytes
from mobilenets.latency import time_artifact
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.model import MobileNet, load, save, with_info
from mobilenets.precision import Precision
from mobilenets.search import Dimension, Step, able, dimensions, netadapt
from mobilenets.search.timing import SCORED_PER_S, Clock, Costs, Sitting, steps_left, timed_again, within
from mobilenets.table import Network
from mobilenets.training import STATE, Training, Watcher, execute, load_splits
from mobilenets.training.distill import ask_teachers
from mobilenets.training.objectives import Data, Score
from mobilenets.training.state import load_state

STEPS_SHARE = 0.6
"""Part of the time after preparing that the steps may take; the long fine-tuning gets the rest."""
INT8_SHARE = 0.15
"""Part of the time after the steps that the ladder of int8 may take, with what it trains."""
AIM = 0.985
"""Part of the latency limit that the steps go down to: the file is timed in another minute than they were."""
LEAST_STEPS, MOST_STEPS = 40, 400
"""Training steps of a proposal: with fewer, what is scored is the damage and not what can be mended."""
TIMING_SHARE = 0.2
"""Part of a step's time that measuring the cuts of its best proposals may take."""
TOGETHER = 3
"""How often the steps go on where all timed together are over the budget: then the file's own measurement decides."""
TOO_LONG_S = 60.0
"""Seconds that the steps may go over their time without being told."""
CLOSING_S, CLOSING_SHARE = 20.0, 0.15
"""Kept for the last measurements, export and verification, and at most so much of all the time; scoring the file comes
on top."""


class Job(Sitting):
    """One sitting. What the run folder holds already is not done again.

    `ships` says whether a file is made at the end, so that time is kept for it.
    """

    def __init__(
        self, run: Path, state: State, start: MobileNet, folder: Folder, costs: Costs, clock: Clock, watcher: Watcher,
        begun: float, ships: bool = True,
    ) -> None:  # fmt: skip
        scored = len(folder.splits["val"]) + len(folder.splits.get("test", ()))
        closing_s = min(CLOSING_S, CLOSING_SHARE * 60 * state.minutes) + scored / SCORED_PER_S
        super().__init__(state, closing_s if ships else 0.0, watcher, begun)
        self.ladder = ships and state.precision == "int8"
        self.run, self.state, self.start, self.folder = run, state, start, folder
        self.costs, self.clock = costs, clock
        self.metric = SPOKEN[start.info.task]
        self.ways: tuple[Dimension, ...] = dimensions(start.network)
        self.way: list[Kept] = []
        self.made: dict[Network, tuple[MobileNet, Score]] = {}
        self.turns = Turns(start.network, state.start_ms, clock, costs)
        self.shown = False
        self.timing_share = 0.0 if costs.table is None else TIMING_SHARE

    def work(self) -> Outcome:
        """All of it."""
        return self.close(*self.export(self.narrowed()))

    def narrowed(self) -> MobileNet:
        """The network at the end of the way down, after its long fine-tuning; without a file."""
        train, val = load_splits(
            self.folder, self.start.network.resolution, self.watcher, channels=self.start.network.in_channels
        )
        answers = self.answers(train)
        self.way = steps(self.run / "steps")
        self.room = Classroom(self.start, train, val, answers=answers, seed=self.state.seed, scored=self.state.scored)
        if not self.state.tuning_s:
            self.costs.learn(
                self.start.network, self.state.start_ms, self.clock.file_bytes(self.start.network)
            )  # fmt: skip
            self.start_load = self.costs.load(self.start.network)
            self.speed = self.pace()
            self.begin()
            self.until = time.perf_counter() + self.steps_left_s()
            self.go_down()
        return self.tune(train, val, answers)

    def steps_left_s(self) -> float:
        """Seconds that the steps still have: their part of all the time since the first of them began."""
        if not self.state.steps_begun_s:
            self.state.steps_begun_s = self.spent_s()
            self.keep_time()
        whole_s = 60 * self.state.minutes - self.closing_s - self.state.steps_begun_s
        return STEPS_SHARE * max(whole_s, 0.0) - (self.spent_s() - self.state.steps_begun_s)

    def answers(self, train: Data) -> torch.Tensor | None:
        """What the start says of the training images; detectors and segmenters are asked batch by batch."""
        if not isinstance(train, Squares):
            return None
        self.watcher.phase("asking the start about the training images", len(train))
        teacher = self.run / "steps" / "00.safetensors"
        classes = self.start.info.classes
        return ask_teachers([teacher], train, classes, on_progress=self.watcher.advance, note=self.watcher.note)

    def pace(self) -> Speed:
        """What a proposal takes; the images that it is scored on are made fewer where they would take too long."""
        self.watcher.phase("timing a proposal")
        speed = self.room.speed(self.start)
        if not self.state.scored:
            share = SCORING_SHARE * STEPS_SHARE * self.working_s()
            wanted = steps_left(self.start_load, self.least_cut()) * len(self.ways)
            begin = time.perf_counter()
            self.room.score(self.start)
            each_s = (time.perf_counter() - begin) / len(self.room.held)
            affordable = int(share / max(wanted * each_s, 1e-9))
            self.state.scored = min(len(self.room.held), max(200, affordable))
            self.room.fewer(self.state.scored)
            spared_s = (len(self.room.kept_out) - self.state.scored) * each_s
            speed = replace(speed, fixed_s=max(speed.fixed_s - spared_s, 0.0))
            self.keep_time()
        return speed

    def least_cut(self) -> float:
        """What a step takes off the load, at least: a part of the start's, as it was measured at first."""
        return self.state.delta * self.start_load

    def begin(self) -> None:
        """The start as step 0, or what an earlier sitting kept."""
        if self.way:
            last = self.way[-1]
            self.costs.learn(last.network, last.measured_ms, last.file_bytes)
            self.watcher.note(f"going on after step {last.number}: {last.measured_ms:.2f} ms")
            return
        file_bytes = self.clock.file_bytes(self.start.network)
        zero = self.numbers(self.start, self.room.score(self.start), self.state.start_ms, file_bytes)
        note(self.run / "steps", zero)  # its weights are there, as they were given
        self.goes_on_from(zero)

    def numbers(self, model: MobileNet, score: Score, measured_ms: float, file_bytes: int) -> Kept:
        """A network's numbers; those of the step are added where it was one."""
        network = model.network
        counted, load_ = self.costs.measured(network, measured_ms, file_bytes)
        return Kept(
            0, network, "", 0, 0, score.metric, self.room.val_score(model), measured_ms,
            self.costs.latency_ms(network), counted.file_bytes, counted.macs, counted.params, counted.ram_bytes, load_,
        )  # fmt: skip

    def goes_on_from(self, kept: Kept) -> None:
        """What is kept is the last of the way, and corrects what is predicted."""
        self.costs.learn(kept.network, kept.measured_ms, kept.file_bytes)
        self.way.append(kept)
        self.draw()
        self.keep_time()

    def metrics(self, kept: Kept) -> dict[str, float]:
        """What a step's checkpoint says of itself."""
        metric = METRICS[self.start.info.task]
        return {f"val_{metric}": kept.val, f"chosen_by_{metric}": kept.score, "latency_ms": kept.measured_ms}

    def draw(self, tuned: tuple[float, float] | None = None) -> None:
        """The picture of the way so far."""
        title, limit_ms = f"{self.start.network.label}, {self.costs.budget.text}", self.costs.budget.latency_ms
        draw(
            self.way, self.run / "trajectory.png", title, metric=self.metric, images=len(self.room.val),
            limit_ms=limit_ms, tuned=tuned,
        )  # fmt: skip

    def go_down(self) -> None:
        """Steps until the budget is met, by prediction and by measurement, and once more by all measured together."""
        for _ in range(TOGETHER):
            self.step_down()
            if not self.met(self.way[-1].network):
                self.refuse()
            self.measure_together()
            if self.met(self.way[-1].network):
                return
            self.watcher.note("timed together with the start, it is over the budget after all: going on.")
        self.watcher.note("it stays a little over the budget: how the file itself measures decides.")

    def refuse(self) -> None:
        """No step can be made any more.

        Raises:
            BudgetUnmetError: always.
        """
        last = self.way[-1]
        raise BudgetUnmetError(
            f"no width can give enough any more after {last.number} steps: {last.measured_ms:.2f} ms and "
            f"{last.file_bytes / 1e6:.2f} MB, asked for {self.costs.budget.text}. Its weights are "
            f"{self.run / 'steps' / last.checkpoint}. Raise the budget."
        )

    def met(self, network: Network) -> bool:
        """Whether the last kept network, which the prediction has learned from, is within what is aimed at."""
        return self.costs.load(network) <= 1.0 + 1e-9

    def cut(self, network: Network) -> float:
        """What the next step takes off: delta of the start, or more where there is no time for so many steps."""
        load_, least, left_s = self.costs.load(network), self.least_cut(), self.until - time.perf_counter()
        pace = pace_of(
            load_, least, left_s, network_s=self.speed.proposal_s(LEAST_STEPS) / (1 - self.timing_share),
            count_of=lambda cut: able(network, self.ways, self.costs.load, cut=cut, divisor=self.state.divisor),
        )  # fmt: skip
        self.planned, self.count = pace.steps, pace.proposals
        longer_s = pace.seconds - left_s
        if longer_s > TOO_LONG_S and not self.shown:
            self.shown = True
            self.watcher.note(
                f"{self.state.minutes:g} minutes are too few: about {pace.steps} steps follow, which take about "
                f"{longer_s / 60:.0f} minutes more than there are. Ctrl-C keeps every step."
            )
        elif pace.cut > least and not self.shown:
            self.shown = True
            self.watcher.note(
                f"there is time for about {pace.steps} of {steps_left(load_, least)} steps: each takes off "
                f"{pace.cut / least:.1f} times the {self.state.delta:.1%} asked for. With more --minutes the steps are "
                "smaller."
            )
        return pace.cut

    def step_down(self) -> None:
        """NetAdapt's loop from the last kept network on."""
        last = self.way[-1]
        self.model = load(self.run / "steps" / last.checkpoint)
        walk = netadapt(
            last.network, self.ways, cost=self.costs.load, cut=self.cut, evaluate=self.evaluate, met=self.met,
            divisor=self.state.divisor, rule=self.state.rule, first=last.number + 1,
            timed=None if self.costs.table is None else self.turns.loads,
            most_timed=lambda: self.turns.most(self.timing_s),
        )  # fmt: skip
        self.since = time.perf_counter()
        for step in walk:
            self.model, score = self.made[step.proposal.network]
            told = tuple(self.told(step, i) for i in range(len(step.proposals)))
            self.made = {}
            ((ratio, file_bytes),) = self.turns.ratios([step.proposal.network])
            plain = self.numbers(self.model, score, ratio * self.state.start_ms, file_bytes)
            kept = replace(
                plain, number=step.number, gave=step.proposal.dimension.label, before=step.proposal.before,
                after=step.proposal.after, trained_steps=self.trained, seconds=time.perf_counter() - self.since,
                proposals=told,
            )  # fmt: skip
            recipe = {"netadapt": kept.number}
            keep(self.run / "steps", kept, with_info(self.model, metrics=self.metrics(kept), recipe=recipe))
            self.goes_on_from(kept)
            self.watcher.note(
                f"step {kept.number:>2}: {kept.gave} {kept.before} -> {kept.after}: {self.metric} {kept.score:.1%}, "
                f"{kept.measured_ms:.2f} ms, {kept.load:.2f} of the budget, {kept.seconds:.0f} s"
            )
            self.since = time.perf_counter()

    def evaluate(self, network: Network, number: int) -> float:
        """How well a network does after its short fine-tuning: its loss, of which less is better.

        The accuracy on these few images does not tell proposals apart: in most steps half of them are within what its
        noise is.
        """
        if not self.made:
            self.watcher.phase(f"step {number} of about {number - 1 + self.planned}")
            seconds = (self.until - time.perf_counter()) / self.planned
            self.timing_s = self.timing_share * seconds
            each_s = (seconds - self.timing_s) / (1 + self.count)
            self.trained = self.speed.steps_in(each_s, least=LEAST_STEPS, most=MOST_STEPS)
        begin = time.perf_counter()
        model = self.room.taught(network, self.model, steps=self.trained, lesson=number)
        score = self.room.score(model)
        now = self.room.speed_of(time.perf_counter() - begin, self.trained)
        # it falls as the network gets narrower, and a busy moment must not rule the next step
        before = self.speed
        self.speed = Speed(0.8 * before.step_s + 0.2 * now.step_s, 0.8 * before.fixed_s + 0.2 * now.fixed_s)
        self.made[network] = model, score
        self.watcher.advance(len(self.made), 1 + self.count)
        return -score.loss

    def told(self, step: Step, i: int) -> dict[str, object]:
        """A proposal as a step's file lists it."""
        proposal = step.proposals[i]
        score = self.made[proposal.network][1]
        return {
            "gave": proposal.dimension.label, "before": proposal.before, "after": proposal.after, "load": proposal.cost,
            "measured_load": step.measured.get(i), "score": score.metric, "loss": score.loss, "kept": i == step.kept,
        }  # fmt: skip

    def measure_together(self) -> None:
        """All kept networks timed by turns with the start, so that a drift between steps misleads nobody."""
        self.watcher.phase("timing all steps by turns")
        found = self.clock.ratios(self.start.network, [kept.network for kept in self.way])
        for i, (kept, (ratio, file_bytes)) in enumerate(zip(self.way, found, strict=True)):
            measured_ms = self.state.start_ms if i == 0 else ratio * self.state.start_ms
            counted, load_ = self.costs.measured(kept.network, measured_ms, file_bytes)
            self.way[i] = replace(kept, measured_ms=measured_ms, file_bytes=counted.file_bytes, load=load_)
            note(self.run / "steps", self.way[i])
        last = self.way[-1]
        self.costs.learn(last.network, last.measured_ms, last.file_bytes)
        self.draw()

    def tune(self, train: Data, val: Data, answers: torch.Tensor | None) -> MobileNet:
        """The long fine-tuning of the last network, with the start as teacher; an interrupted one goes on."""
        run, last = self.run / "train", self.way[-1]
        if self.state.tuned:
            return self.better(load(run / "best.safetensors"))
        run.mkdir(exist_ok=True)
        if not self.state.tuning_s:
            share = 1 - INT8_SHARE if self.ladder else 1.0
            self.state.tuning_s = max(share * self.working_s(), 5.0)
            self.keep_time()
        model = load(self.run / "steps" / last.checkpoint)
        teachers = () if answers is not None else (self.start,)
        training = Training(
            model, tuning_recipe(self.start, self.state.tuning_s, self.state.seed), train, val, teacher=answers,
            teachers=teachers,
        )  # fmt: skip
        if (run / STATE).is_file():
            load_state(training, run / STATE, note=self.watcher.note)
        tuned = execute(training, run, self.watcher)
        self.state.tuned = True
        self.keep_time()
        return self.better(tuned)

    def better(self, tuned: MobileNet) -> MobileNet:
        """The fine-tuned network; that of the last step where there was too little time to get better."""
        last = self.way[-1]
        if (score := self.room.val_score(tuned)) >= last.val:
            return tuned
        self.watcher.note(
            f"the long fine-tuning had too little time: {self.metric} {score:.1%}, {last.val:.1%} before it. The last "
            "step's weights are kept."
        )
        return load(self.run / "steps" / last.checkpoint)

    def export(self, model: MobileNet) -> tuple[MobileNet, Path, Verification]:
        """Checkpoint and file of what is shipped, proven on validation images."""
        if self.state.precision == "int8":
            made = self.quantize(model)
            if made.verification is not None:
                save(made.model, self.run / "model.safetensors")
                return made.model, made.artifact, made.verification
            self.watcher.note("no technique holds int8 within what it may cost: float is kept.")
        self.watcher.phase("exporting and verifying")
        save(model, self.run / "model.safetensors")
        artifact = self.run / "model.onnx"
        images = sample_images(model, [sample.path for sample in self.folder.splits["val"]])
        precision: Precision = "fp16" if self.state.precision == "fp16" else "fp32"
        return model, artifact, export(model, artifact, images=images, precision=precision)

    def quantize(self, model: MobileNet) -> Quantized:
        """The ladder of int8; a rung that an earlier sitting finished is not climbed again."""
        run = self.run / "quantize"
        begun = (run / "quantize.json").is_file()
        checkpoint = save(model, self.run / "float.safetensors")
        return quantize(
            checkpoint, self.state.data, minutes=self.working_s() / 60, out=run, seed=self.state.seed, resume=begun,
            overwrite=True, watcher=self.watcher,
        )  # fmt: skip

    def close(self, model: MobileNet, artifact: Path, verification: Verification) -> Outcome:
        """The file and the start timed again; where the file is over the budget it is asked three times."""
        self.watcher.phase("timing the file")
        device, threads, limits = self.clock.device, self.state.threads, self.costs.budget
        latency, _ = timed_again(lambda: time_artifact(device, artifact, threads=threads, seconds=3.0), limits)
        start_latency, _ = self.clock.time(self.start.network)
        met = within(limits, latency, size_bytes(artifact))
        return Outcome(model, artifact, verification, latency, start_latency, tuple(self.way), met)
