"""A model opened as often as it takes to keep all processors busy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.sources import Source
from mobilenets.errors import MisuseError
from mobilenets.prediction.auto import choose_for, wants_auto
from mobilenets.prediction.features import open_featured
from mobilenets.prediction.predictor import Predictor, open_model
from mobilenets.processors import processors
from mobilenets.runtime import SUFFIXES, open_artifact


@dataclass(frozen=True, slots=True)
class Plan:
    """How the processors share the work.

    Attributes:
        workers: threads that decode images and ask about them.
        sessions: answers that are computed at the same time.
        threads: inside an operator of each.
        batch: images that a session is asked about at once.
        chunk: images that a worker takes at once.
    """

    workers: int
    sessions: int
    threads: int
    batch: int
    chunk: int = 8

    def __str__(self) -> str:
        each = f"{self.sessions} x {self.threads} thread{'s' * (self.threads > 1)}"
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        return f"{workers}, {each}, {self.batch} image{'s' * (self.batch > 1)} at once"


@dataclass(frozen=True, slots=True)
class Opened:
    """A model, open.

    Attributes:
        first: a session, or the model itself.
        plans: ways to run it, the likeliest one first; all give the same answers, bit for bit.
        again: opens it with so many threads inside an operator; None where `first` may be asked by several threads.
    """

    first: Predictor
    plans: tuple[Plan, ...]
    again: Callable[[int], Predictor] | None = None

    def sessions(self, plan: Plan) -> list[Predictor]:
        """As many as a plan wants."""
        threads = getattr(self.first, "threads", plan.threads)
        if self.again is None or (plan.sessions == 1 and threads == plan.threads):
            return [self.first] * plan.sessions
        if _shared(self.first):  # any thread may ask it
            one = self.first if threads == plan.threads else self.again(plan.threads)
            return [one] * plan.sessions
        return [self.first, *(self.again(plan.threads) for _ in range(plan.sessions - 1))]


def open_for_many(
    model: Any,
    sample: Callable[[], Sequence[Source]],
    *,
    features: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Opened:
    """A checkpoint, an exported file or a model in memory, ready to run on all processors.

    Args:
        model: what to open.
        sample: the first images, which decide where the runtime is `auto`.
        features: a node whose values are wanted, too; see `features.open_featured`.
        threads: processors to use; None takes all that are allowed.
        runtime: see `predict`.
        precision: of float arithmetic in an exported file; None is fp32.
        note: told which runtime was chosen.

    Raises:
        MisuseError: see `open_model`.
    """
    if threads is not None and threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    n = threads or processors()
    if wants_auto(model, runtime):
        choice, session = choose_for(model, lambda _: sample(), threads=1, precision=precision, note=note)
        model, runtime, precision = choice.path, choice.runtime, choice.arithmetic
        first: Predictor = session
    else:
        is_file = isinstance(model, str | Path)
        first = open_model(model, threads=1 if is_file else n, runtime=runtime, precision=precision)
    if features is not None:
        first = open_featured(model, features, threads=1, inner=first)
    if Path(str(model)).suffix.lower() not in SUFFIXES or not isinstance(model, str | Path):
        return Opened(first, (_of_checkpoint(first, n, alone=not isinstance(model, str | Path)),))

    def again(threads: int) -> Predictor:
        if features is not None:
            return open_featured(model, features, threads=threads)
        return open_artifact(model, threads=threads, runtime=runtime, precision=precision)

    return _of_file(first, n, again)


def already_open(predictor: Predictor) -> Opened:
    """A predictor that somebody else opened: it is asked by one thread, while others decode.

    ONNX Runtime's sessions of one thread may be asked by all.
    """
    n = processors()
    several = _shared(predictor) and getattr(predictor, "threads", 0) == 1
    return Opened(predictor, (Plan(n, n if several else 1, 1, _most(predictor, 8)),))


def _shared(predictor: Predictor) -> bool:
    """Whether several threads may ask it at the same time."""
    return getattr(predictor, "runtime", "") == "onnxruntime"


def _most(predictor: Predictor, batch: int) -> int:
    """Images at once: outputs of detectors and segmenters are megabytes to tens of megabytes an image."""
    match predictor.task:
        case "classify" | "multi-label":
            return batch
        case "detect":
            return min(batch, 4)
        case "segment":
            return 1


def _of_checkpoint(predictor: Predictor, n: int, *, alone: bool) -> Plan:
    """PyTorch's last bits depend on the batch, so it is always the same one."""
    batch = _most(predictor, 16)
    return Plan(n, 1 if alone else n, n if alone else 1, batch, max(batch, 8))


def _of_file(first: Predictor, n: int, again: Callable[[int], Predictor]) -> Opened:
    match getattr(first, "runtime", ""):
        case "onnxruntime":
            # Its answers are the same for any batch and any number of threads. More workers than processors help
            # where files are slow to come; one session with many threads where its memory is what limits.
            plans = [Plan(n, n, 1, 1), Plan(n, n, 1, _most(first, 4)), Plan(2 * n, n, 1, 1)]
            if n > 1:
                plans.append(Plan(n, 1, n, _most(first, 4)))
            return Opened(first, tuple(dict.fromkeys(plans)), again)
        case "pytorch":
            return Opened(first, (_of_checkpoint(first, n, alone=False),))
        case "executorch":  # its threads are one pool of the whole process
            return Opened(first, (Plan(n, 1, 1, 1),))
        case _:
            return Opened(first, (Plan(n, n, 1, 1),), again)
