"""What networks cost: predicted by the table, corrected by measurement, and measured beside the start; and the time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mobilenets.costs import Budget
from mobilenets.costs.sizes import Sizes, sizes
from mobilenets.latency import Device, LatencyTable
from mobilenets.latency.measure import Ending, Latency, Model, interleave, loaded
from mobilenets.precision import Precision
from mobilenets.search import Dimension, divisor_of, priced, probes
from mobilenets.table import Network
from mobilenets.watching import Tick, Watcher

ROUNDS = 9
"""Turns in which the start and the kept networks are timed; what counts is the median of the turns' ratios."""
ROUND_S = 0.08
KEEP_S = 20.0
"""Between two times that a run writes how long it has worked."""
TURNS_S = ROUNDS * ROUND_S
"""Of one network among others, roughly."""
LOADED = 8
"""Networks that are loaded at once beside the start: a phone has no room for sixty."""
TRIES = 3
"""How often a file that is over the budget is timed: another process may have had the processor."""
SCORED_PER_S = 800.0
"""Images that are read and scored a second, to know when training must end; small ones go faster, large ones slower."""


@dataclass
class Costs:
    """Load of networks by prediction: the largest part of a limit that one takes.

    Tables err, all of a kind in the same direction: what the present network was measured to take corrects them.

    Attributes:
        budget: the limits.
        precision: of the artifact.
        table: of the device; None where no latency is limited.
        latency_factor: measured over predicted latency of the network measured last.
        file_factor: real over counted file size of it.
        aim: part of the latency limit that predictions are held to, so that what is measured later fits.
    """

    budget: Budget
    precision: Precision
    table: LatencyTable | None
    latency_factor: float = 1.0
    file_factor: float = 1.0
    aim: float = 1.0

    def latency_ms(self, network: Network) -> float | None:
        """Corrected prediction; None without a table."""
        return None if self.table is None else self.latency_factor * self.table.predict_ms(network)

    def load(self, network: Network) -> float:
        """By prediction."""
        if self.table is None:
            counted, latency_ms = sizes(network, self.precision), None
        else:
            counted, predicted_ms = priced(network, self.table, self.precision)
            latency_ms = self.latency_factor * predicted_ms / self.aim
        return self.budget.load(replace(counted, file_bytes=round(self.file_factor * counted.file_bytes)), latency_ms)

    def measured(self, network: Network, latency_ms: float, file_bytes: int) -> tuple[Sizes, float]:
        """(sizes with the real file's, load by measurement).

        Files that are only timed hold float weights, for fp16 ones compute as those do: their size counts for nothing.
        """
        counted = sizes(network, self.precision)
        real = counted if self.precision == "fp16" else replace(counted, file_bytes=file_bytes)
        return real, self.budget.load(real, latency_ms)

    def learn(self, network: Network, latency_ms: float, file_bytes: int) -> None:
        """Correct predictions by what a network was measured to take."""
        if self.table is not None:
            self.latency_factor = latency_ms / self.table.predict_ms(network)
        real, _ = self.measured(network, latency_ms, file_bytes)
        self.file_factor = real.file_bytes / sizes(network, self.precision).file_bytes


@dataclass(frozen=True, slots=True)
class Clock:
    """How networks are timed on a device.

    Attributes:
        device: where.
        threads: threads inside an operator.
        precision: fp32 or int8: what an artifact computes in.
        ending: post-processing of detectors and segmenters.
    """

    device: Device
    threads: int
    precision: Precision
    ending: Ending | None

    def time(self, network: Network) -> tuple[Latency, int]:
        """(latency of one network alone, bytes of its file)."""
        model = Model.random(network, self.precision, self.ending)
        with self.device.connect() as link, loaded(link, [model], threads=self.threads, own_process=False) as (timing,):
            for _ in interleave([timing], rounds=ROUNDS, limit_s=3 * ROUND_S):
                pass
            return timing.latency(), len(model.files[0][1])

    def file_bytes(self, network: Network) -> int:
        """Bytes of a network's file: weights do not change it."""
        return len(Model.random(network, self.precision, self.ending).files[0][1])

    def divisor(self, network: Network, ways: Sequence[Dimension], divisor: int) -> int:
        """The step of channels that this device shows on the network itself, a multiple of the table's.

        Tables are fitted to few odd widths: one of a processor with registers of 16 values gave 4, where only every
        sixteenth channel made a network faster.
        """
        tried = probes(network, ways, divisor)
        found = self.ratios(network, list(tried.values())) if tried else []
        times = {above: ratio for above, (ratio, _) in zip(tried, found, strict=True)}
        return divisor_of(times.__getitem__, divisor, first=0) if times else divisor

    def ratios(self, start: Network, networks: Sequence[Network]) -> list[tuple[float, int]]:
        """(latency as part of the start's, bytes of the file) of each, timed by turns with the start, a few at a time.

        The median over turns of the ratio within a turn: neither a busy moment nor a drift of the clock hits one alone.
        """
        parts = [networks[i : i + LOADED] for i in range(0, len(networks), LOADED)]
        return [found for part in parts for found in self._ratios(start, part)]

    def _ratios(self, start: Network, networks: Sequence[Network]) -> list[tuple[float, int]]:
        models = [Model.random(network, self.precision, self.ending) for network in (start, *networks)]
        with self.device.connect() as link, loaded(link, models, threads=self.threads, own_process=False) as timings:
            for _ in interleave(timings, rounds=ROUNDS, limit_s=ROUND_S):
                pass
            turns = [[turn.undisturbed_ms for turn in timing.rounds] for timing in timings]
        ratios = [statistics.median(a / b for a, b in zip(each, turns[0], strict=True)) for each in turns[1:]]
        return [(ratio, len(model.files[0][1])) for ratio, model in zip(ratios, models[1:], strict=True)]


def steps_left(load: float, cut: float) -> int:
    """Steps from a load to the budget, where each takes so much off; at least 1."""
    return max(1, math.ceil((load - 1) / cut - 1e-9))


class Paced(Protocol):
    """The state of a run that lasts the user's minutes."""

    spent_s: float

    @property
    def minutes(self) -> float:
        """For the whole run."""

    def write(self) -> None:
        """Keep it."""


class Keeping(Watcher):
    """Tells on what it is told, and keeps the time now and then: a killed run must not have its minutes twice."""

    def __init__(self, told: Watcher, keep: Callable[[], None]) -> None:
        self.told, self.keep, self.kept = told, keep, time.perf_counter()
        self.started, self.epoch, self.note = told.started, told.epoch, told.note  # type: ignore[method-assign]

    @property
    def metric(self) -> str:
        """What the validations' score is called."""
        return self.told.metric

    @metric.setter
    def metric(self, name: str) -> None:
        self.told.metric = name

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins."""
        self.told.phase(name, total)
        self._keep()

    def advance(self, done: int, total: int) -> None:
        """Things done so far."""
        self.told.advance(done, total)
        self._keep()

    def looked(self, part: float, text: str) -> None:
        """How far the phase is, and how it stands."""
        self.told.looked(part, text)
        self._keep()

    def tick(self, tick: Tick) -> None:
        """A training step is done."""
        self.told.tick(tick)
        self._keep()

    def _keep(self) -> None:
        if time.perf_counter() - self.kept > KEEP_S:
            self.keep()
            self.kept = time.perf_counter()


class Sitting:
    """The time of one sitting of a run: an interrupted one has had others before.

    Args:
        kept: the state of the run.
        closing_s: what the end takes, with nothing left to choose.
        watcher: told about progress.
        begun: when the sitting began, by `time.perf_counter`; now unless given.
    """

    def __init__(self, kept: Paced, closing_s: float, watcher: Watcher, begun: float | None = None) -> None:
        self.kept, self.closing_s = kept, closing_s
        self.watcher = Keeping(watcher, self.keep_time)
        self.begun = time.perf_counter() if begun is None else begun
        self.spent_before = kept.spent_s

    def spent_s(self) -> float:
        """Seconds used so far, over all sittings."""
        return self.spent_before + time.perf_counter() - self.begun

    def left_s(self) -> float:
        """Seconds of the user's minutes that are not used yet."""
        return 60 * self.kept.minutes - self.spent_s()

    def working_s(self) -> float:
        """Seconds that are left before the end begins; never below 0."""
        return max(self.left_s() - self.closing_s, 0.0)

    def keep_time(self) -> None:
        """Write the state with the time used so far."""
        self.kept.spent_s = self.spent_s()
        self.kept.write()


def within(budget: Budget, latency: Latency, file_bytes: int) -> bool:
    """Whether a file meets a budget by its measured latency and real size; what is counted is its network's."""
    slow = budget.latency_ms is not None and latency.median_ms > budget.latency_ms
    return not slow and (budget.file_bytes is None or file_bytes <= budget.file_bytes)


def timed_again(measure: Callable[[], Latency], budget: Budget) -> tuple[Latency, int]:
    """(latency of a file, how often it was asked): up to three times where it is over the budget, the best counts."""
    latency, tries = measure(), 1
    while budget.latency_ms is not None and latency.median_ms > budget.latency_ms and tries < TRIES:
        time.sleep(1.0)
        latency, tries = min(latency, measure(), key=lambda found: found.median_ms), tries + 1
    return latency, tries
