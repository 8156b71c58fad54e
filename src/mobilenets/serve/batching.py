"""Micro-batching: images of different requests go through the network together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Told(Generic[A]):
    """An answer and what it took.

    Attributes:
        answer: of one question.
        queue_ms: waiting for the network.
        infer_ms: of the batch, in the network.
        batch: questions that were asked together.
    """

    answer: A
    queue_ms: float
    infer_ms: float
    batch: int


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Q, A]):
    question: Q
    told: asyncio.Future[Told[A]]
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[Q, A]):
    """Asks several questions at once, of whatever requests they are.

    A batch begins with the first question that waits. It takes what else waits, up to `max_batch`, and waits for more
    up to `max_wait_s`, but only while some are announced (`coming`): a lone request waits for nobody. Questions whose
    asker has left are not asked.

    Args:
        asks: each answers a batch of questions, in their order; called from a thread of its own.
        max_batch: questions asked at once.
        max_wait_s: how long the first of them waits.
        queue: questions that may wait.
        on_batch: told the size of every batch.
    """

    def __init__(
        self,
        asks: Sequence[Callable[[Sequence[Q]], Sequence[A]]],
        *,
        max_batch: int,
        max_wait_s: float,
        queue: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._asks = asks
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._queue: asyncio.Queue[_Waiting[Q, A]] = asyncio.Queue(queue)
        self._on_batch = on_batch
        self._coming = 0
        self._collecting = asyncio.Lock()
        self._pool = ThreadPoolExecutor(len(asks), thread_name_prefix="infer")
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to answer; from the event loop that asks."""
        self._workers = [asyncio.create_task(self._work(ask)) for ask in self._asks]

    async def close(self) -> None:
        """Stop. Those who still wait are cancelled."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait().told.cancel()
        self._pool.shutdown()

    @property
    def length(self) -> int:
        """Questions that wait."""
        return self._queue.qsize()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Announces a question: within the block it is being made ready."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def ask(self, question: Q) -> Told[A]:
        """The answer to a question. Cancelling this takes the question back, if it was not asked yet.

        Raises:
            asyncio.QueueFull: too many wait.
        """
        waiting: _Waiting[Q, A] = _Waiting(question, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.told

    async def _work(self, ask: Callable[[Sequence[Q]], Sequence[A]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._collecting:  # else two idle workers would share what is one batch
                batch = await self._collect()
            if not batch:
                continue
            self._on_batch(len(batch))
            begun = time.perf_counter()
            try:
                answers = await loop.run_in_executor(self._pool, ask, [each.question for each in batch])
            except Exception as error:  # whatever a runtime raises is for those who asked
                _fail(batch, error)
                continue
            infer_ms = (time.perf_counter() - begun) * 1e3
            for each, answer in zip(batch, answers, strict=True):
                if not each.told.done():
                    each.told.set_result(Told(answer, (begun - each.since) * 1e3, infer_ms, len(batch)))

    async def _collect(self) -> list[_Waiting[Q, A]]:
        """The questions of the next batch whose askers still wait."""
        batch = [await self._queue.get()]
        until = asyncio.get_running_loop().time() + self._max_wait_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while len(batch) < self._max_batch:
                    if not self._queue.empty():
                        batch.append(self._queue.get_nowait())
                    elif self._coming:
                        batch.append(await self._queue.get())
                    else:
                        break
        return [each for each in batch if not each.told.done()]


def _fail(batch: Sequence[_Waiting[Q, A]], error: Exception) -> None:
    for each in batch:
        if not each.told.done():
            each.told.set_exception(error)
