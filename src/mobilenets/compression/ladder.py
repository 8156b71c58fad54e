"""The ladder: techniques from the cheapest to the dearest, each scored, until one holds the accuracy.

Nothing here knows what a technique does or how a file is scored: both are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Score:
    """What an artifact did on the validation images, in its own runtime.

    Attributes:
        metric: the task's: top-1, mean average precision, AP or mIoU.
        loss: cross-entropy: it orders artifacts of equal metric; 0 of boxes and masks.
        file_bytes: of the artifact.
    """

    metric: float
    loss: float
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Rung:
    """One try.

    Attributes:
        name: of the technique, with what was tried of it.
        what: in a sentence.
        score: what it reached; None where it could not be tried.
        drop: of the metric, against the float artifact; below 0 where int8 does better.
        passed: within the allowed drop.
        seconds: it took.
        note: why it could not be tried, or what it left in float.
    """

    name: str
    what: str
    score: Score | None
    drop: float | None
    passed: bool
    seconds: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Rung:
        """From plain JSON values."""
        score = values["score"]
        return Rung(**(values | {"score": None if score is None else Score(**score)}))


@dataclass(frozen=True, slots=True)
class Try(Generic[M]):
    """What a technique wants scored.

    Attributes:
        name: of it.
        what: in a sentence.
        made: the network and the scheme it is to be quantized by; None where the technique does not apply.
        note: why it does not, or what is left in float.
    """

    name: str
    what: str
    made: M | None
    note: str = ""


Technique = Callable[[M], Iterator[Try[M]]]
"""From the best so far to one or several tries."""


@dataclass(frozen=True, slots=True)
class Climbed(Generic[M]):
    """Where a ladder ended.

    Attributes:
        rungs: all that was tried, in order.
        best: the rung that wins: of those that passed the one of the best score; without any, the best of all.
        made: what it was made of.
    """

    rungs: tuple[Rung, ...]
    best: Rung
    made: M


def climb(
    start: M,
    techniques: Sequence[Technique[M]],
    judge: Callable[[Try[M]], Rung],
    *,
    every: bool = False,
    on_rung: Callable[[Rung], None] | None = None,
) -> Climbed[M]:
    """Try techniques in order, each on top of the best so far, until one passes.

    Args:
        start: what the first technique begins with.
        techniques: the cheapest first; the first one must make something.
        judge: writes and scores a try.
        every: go on after one has passed, for a better one.
        on_rung: called after each.
    """
    rungs: list[Rung] = []
    best: tuple[Rung, M] | None = None
    for technique in techniques:
        for attempt in technique(start if best is None else best[1]):
            rung = judge(attempt)
            rungs.append(rung)
            if on_rung is not None:
                on_rung(rung)
            if attempt.made is not None and (best is None or _rank(rung) > _rank(best[0])):
                best = rung, attempt.made
            if rung.passed and not every:
                break
        if best is not None and best[0].passed and not every:
            break
    assert best is not None, "the first technique makes something"
    return Climbed(tuple(rungs), *best)


def _rank(rung: Rung) -> tuple[bool, float, float]:
    """Passing first, then the metric, then the loss."""
    if rung.score is None:
        return False, float("-inf"), 0.0
    return rung.passed, rung.score.metric, -rung.score.loss


def judged(attempt: Try[M], score: Score | None, float_metric: float, max_drop: float, seconds: float) -> Rung:
    """A try with its score held against the float artifact's."""
    if score is None:
        return Rung(attempt.name, attempt.what, None, None, False, seconds, attempt.note)
    drop = float_metric - score.metric
    return Rung(attempt.name, attempt.what, score, drop, drop <= max_drop + 1e-9, seconds, attempt.note)
