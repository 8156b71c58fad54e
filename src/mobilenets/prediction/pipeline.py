"""The pipeline: images are decoded, resized and asked about by as many threads as there are processors.

Decoders, Pillow's resizing and the runtimes release the GIL, so each worker takes some images through all steps; no
step waits for another, and none needs a share of the processors that somebody would have to guess. Order is kept,
and what is in flight is bounded: a few images a worker, whatever the number of inputs.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from mobilenets.data import decode
from mobilenets.data.sources import Source
from mobilenets.errors import DataError
from mobilenets.prediction.asking import Ask, unreadable
from mobilenets.prediction.drawn import Drawn
from mobilenets.prediction.found import Prediction
from mobilenets.prediction.loading import Seen, load_seen
from mobilenets.prediction.predictor import Predictor
from mobilenets.prediction.sessions import Opened, Plan

__all__ = ["TRIAL_S", "chunks", "ordered", "through"]

TRIAL_S = 0.25
ROUNDS = 2
"""Every plan is tried so often, for `TRIAL_S` seconds each: two seconds for four plans, and all answers count."""
CLEARLY = 1.05
"""A plan must be so many times faster than those before it to be preferred."""
DRAWN_AT_ONCE = 4
"""Images of a worker that are held whole because something will be drawn on them."""

S = TypeVar("S")
T = TypeVar("T")
Work = Callable[[Sequence[Source]], list[Prediction]]
Asking = Callable[[Predictor], Ask]


def through(
    sources: Iterable[Source],
    opened: Opened,
    asking: Asking,
    *,
    drawn: Drawn | None = None,
    on_plan: Callable[[str], None] | None = None,
) -> Iterator[Prediction]:
    """What a model says of images, in their order, as it comes.

    Args:
        sources: the images; they are taken as they are needed.
        opened: the model.
        asking: makes of a session what asks it; see `mobilenets.prediction.asking`.
        drawn: draws what was found.
        on_plan: told how the processors share the work, where that was measured.
    """
    decode.prepare()
    rest = iter(sources)
    plans = [_drawing(plan) if drawn is not None else plan for plan in opened.plans]
    works: dict[Plan, Work] = {}

    def work_of(plan: Plan) -> Work:
        if plan not in works:
            works[plan] = _work(opened, plan, asking, drawn)
        return works[plan]

    chosen = plans[0]
    if len(plans) > 1:
        fastest = yield from _tried(rest, plans, work_of)
        if fastest is None:
            return
        chosen = fastest
        if on_plan is not None:
            on_plan(str(chosen))
    work = work_of(chosen)
    works.clear()
    for part in ordered(chunks(rest, chosen.chunk), work, chosen.workers):
        yield from part


def ordered(groups: Iterable[S], work: Callable[[S], T], workers: int) -> Iterator[T]:
    """Results of threads in the order of what was given to them; at most two for each thread wait to be taken."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="predict") as pool:
        try:
            for group in groups:
                waiting.append(pool.submit(work, group))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _drawing(plan: Plan) -> Plan:
    few = min(plan.batch, DRAWN_AT_ONCE)
    return Plan(plan.workers, plan.sessions, plan.threads, few, few)


def chunks(items: Iterator[S], size: int) -> Iterator[list[S]]:
    """Lists of so many items, the last one shorter."""
    while part := list(itertools.islice(items, size)):
        yield part


def _tried(
    rest: Iterator[Source], plans: Sequence[Plan], work_of: Callable[[Plan], Work]
) -> Generator[Prediction, None, Plan | None]:
    """Run the plans by turns on the first images; gives what they find, and the fastest one where images are left."""
    rates = dict.fromkeys(plans, 0.0)
    for _ in range(ROUNDS):
        for plan in plans:
            work, done, start = work_of(plan), 0, time.perf_counter()
            for part in ordered(_until(start + TRIAL_S, chunks(rest, plan.chunk)), work, plan.workers):
                done += len(part)
                yield from part
            if not done:
                return None
            rates[plan] = max(rates[plan], done / (time.perf_counter() - start))
    best = plans[0]
    for plan in plans[1:]:
        if rates[plan] > CLEARLY * rates[best]:
            best = plan
    return best


def _until(end: float, items: Iterator[S]) -> Iterator[S]:
    while time.perf_counter() < end:
        try:
            yield next(items)
        except StopIteration:
            return


def _work(opened: Opened, plan: Plan, asking: Asking, drawn: Drawn | None) -> Work:
    sessions = opened.sessions(plan)
    by_session = {id(session): asking(session) for session in sessions}
    free: SimpleQueue[Ask] = SimpleQueue()
    for session in sessions:
        free.put(by_session[id(session)])
    contract, task = opened.first.preprocessing, opened.first.task

    def load(source: Source) -> Seen | str:
        try:
            return load_seen(source, contract, task=task, keep=drawn is not None)
        except DataError as error:
            return str(error)

    def asked(paths: Sequence[Path], images: Sequence[Seen]) -> list[Prediction]:
        ask = free.get()
        try:
            return ask(paths, images)
        finally:
            free.put(ask)

    def work(group: Sequence[Source]) -> list[Prediction]:
        tried = [(_path(source), load(source)) for source in group]
        readable = [(path, seen) for path, seen in tried if isinstance(seen, Seen)]
        answers: list[Prediction] = []
        for start in range(0, len(readable), plan.batch):
            paths, images = zip(*readable[start : start + plan.batch], strict=True)
            told = asked(paths, images)
            if drawn is not None:
                drawn.write(told, images)
            answers += told
        rest = iter(answers)
        return [next(rest) if isinstance(seen, Seen) else unreadable(path, seen, task) for path, seen in tried]

    return work


def _path(source: Source) -> Path:
    return source if isinstance(source, Path) else Path(str(source))
