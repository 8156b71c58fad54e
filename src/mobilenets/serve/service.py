"""A predict request from its body to its answer: read, decoded, asked in a batch, told."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from mobilenets.errors import MisuseError, near_names
from mobilenets.prediction import Prediction
from mobilenets.prediction.asking import check_asked
from mobilenets.prediction.loading import Seen
from mobilenets.serve import bodies, urls
from mobilenets.serve.batching import Batcher
from mobilenets.serve.bodies import Held, Room
from mobilenets.serve.images import Upload, load
from mobilenets.serve.meters import Meters
from mobilenets.serve.models import Asked, Model, answering
from mobilenets.serve.problems import Problem, busy
from mobilenets.serve.settings import Settings

FETCHING = 8
"""Addresses that are fetched at the same time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What one image got, and what it took, in milliseconds."""

    told: dict[str, Any]
    decode_ms: float
    queue_ms: float
    infer_ms: float
    batch: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for: its images, or where they lie, and how much to tell of them."""

    images: Sequence[bytes | str]
    top: int | None
    score: float | None


class Service:
    """Answers predict requests; see `open_models` for the models."""

    def __init__(self, models: Mapping[str, Model], settings: Settings) -> None:
        self.models, self.settings = models, settings
        self.meters = Meters()
        self.draining = False
        self._under_way: Counter[str] = Counter()
        self._held = Held(settings.held_bytes)
        self._batchers = {name: self._batcher(model) for name, model in models.items()}
        self._decoders = ThreadPoolExecutor(settings.processors, thread_name_prefix="decode")
        self._fetchers = ThreadPoolExecutor(FETCHING, thread_name_prefix="fetch")
        for name, batcher in self._batchers.items():
            self.meters.watch(name, partial(getattr, batcher, "length"), partial(self._under_way.__getitem__, name))

    def _batcher(self, model: Model) -> Batcher[Asked, Prediction]:
        return Batcher(
            [answering(model, predictor) for predictor in model.predictors],
            max_batch=model.max_batch, max_wait_s=self.settings.max_wait_ms / 1e3,
            queue=max(self.settings.queue, self.settings.max_images),  # else a large request never fits
            on_batch=self.meters.batch(model.name),
        )  # fmt: skip

    @property
    def under_way(self) -> int:
        """Requests being answered."""
        return self._under_way.total()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within the block, requests are answered."""
        for batcher in self._batchers.values():
            batcher.start()
        try:
            yield
        finally:
            for batcher in self._batchers.values():
                await batcher.close()
            self._decoders.shutdown(cancel_futures=True)
            self._fetchers.shutdown(wait=False, cancel_futures=True)

    def model(self, name: str) -> Model:
        """A model by its name.

        Raises:
            Problem: 404: there is none.
        """
        if (found := self.models.get(name)) is None:
            near = near_names(name[:100], self.models)
            offer = f" Did you mean {', '.join(near)}?" if near else ""
            raise Problem(404, f"no model is named {name[:100]!r}.{offer}", "GET /v1/models lists them.")
        return found

    async def predict(self, request: Request, name: str, top: int | None, score: float | None) -> dict[str, Any]:
        """The answer to a predict request.

        Raises:
            Problem: there is none.
        """
        begun = time.perf_counter()
        model = self.model(name)
        self._admit(model)
        self._under_way[name] += 1
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                with self._held.room() as room:
                    wish = await self._wish(request, room, model, top, score)
                    said = await _unless_gone(request, self._all(model, wish, room))
        except TimeoutError as error:
            hint = "Send a smaller request, or try again later."
            raise Problem(503, f"no answer within {self.settings.timeout_s:g} s.", hint, code="timeout") from error
        finally:
            self._under_way[name] -= 1
        timing = _timing(said, (time.perf_counter() - begun) * 1e3)
        self.meters.phases(name, {phase[:-3]: taken for phase, taken in timing.items() if phase.endswith("_ms")})
        return {"model": name, "predictions": [each.told for each in said], "timing": timing}

    def _admit(self, model: Model) -> None:
        if self.draining:
            raise Problem(503, "the server is stopping.", "Ask another one.", code="stopping")
        if self._under_way[model.name] >= self.settings.queue:
            raise busy(f"{self._under_way[model.name]} requests of {model.name} are under way, as many as may be.")

    async def _wish(self, request: Request, room: Room, model: Model, top: int | None, score: float | None) -> Wish:
        """Read and check a request."""
        form = bodies.form_of(request)
        _check(model, top, score)
        stream = bodies.limited(request, self.settings.max_body_bytes, room)
        if form == "form":
            wish = Wish(await bodies.images_in_form(request, stream, self.settings.max_images), top, score)
        else:
            body = b"".join([chunk async for chunk in stream])
            wish = Wish([body], top, score) if form == "raw" else self._from_json(body, top, score)
            _check(model, wish.top, wish.score)
        if not wish.images or wish.images == [b""]:
            raise Problem(422, "the request holds no image.", "Send one: curl -F image=@photo.jpg.")
        if len(wish.images) > self.settings.max_images:
            raise Problem(413, f"more than {self.settings.max_images} images.", "Send them in several requests.")
        return wish

    def _from_json(self, body: bytes, top: int | None, score: float | None) -> Wish:
        asked = bodies.json_request(body)
        images: list[bytes | str] = []
        for i, each in enumerate(asked.images, 1):
            if (each.base64 is None) == (each.url is None):
                raise Problem(422, f"image {i} has not one of `base64` and `url`.", "Give it exactly one of them.")
            if each.base64 is not None:
                images.append(bodies.from_base64(each.base64, f"image {i}"))
            elif each.url is not None and self.settings.allow_urls:
                images.append(each.url)
            else:
                raise Problem(422, f"image {i} is a URL, which this server does not fetch.", "Send its bytes.")
        return Wish(images, top if asked.top is None else asked.top, score if asked.score is None else asked.score)

    async def _all(self, model: Model, wish: Wish, room: Room) -> list[Said]:
        """All images of a request, at once. What is wrong with one of several is told in its place."""
        if len(wish.images) == 1:
            return [await self._one(model, wish, room, 0)]
        ones = [self._one(model, wish, room, i) for i in range(len(wish.images))]
        said: list[Said] = []
        for each in await asyncio.gather(*ones, return_exceptions=True):
            match each:
                case Said():
                    said.append(each)
                case Problem() if each.status not in (429, 503):
                    said.append(Said({"error": each.message, "size": None}, 0.0, 0.0, 0.0, 0))
                case _:
                    raise each
        return said

    async def _one(self, model: Model, wish: Wish, room: Room, index: int) -> Said:
        """One image: fetched where it is an address, decoded, asked about."""
        name, image, batcher = f"image {index + 1}", wish.images[index], self._batchers[model.name]
        with batcher.coming():
            data = image if isinstance(image, bytes) else await self._fetched(image, name, room)
            seen, decode_ms = await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._decoded, Upload(name, data), model
            )
        try:
            told = await batcher.ask(Asked(name, seen, wish.top, wish.score))
        except asyncio.QueueFull as error:
            raise busy(f"{batcher.length} images wait for {model.name}, as many as may.") from error
        answer = _plain(told.answer, seen.size)
        return Said(answer, decode_ms, told.queue_ms, told.infer_ms, told.batch)

    def _decoded(self, upload: Upload, model: Model) -> tuple[Seen, float]:
        begun = time.perf_counter()
        seen = load(upload, model.first.preprocessing, model.first.task, self.settings.max_pixels)
        return seen, (time.perf_counter() - begun) * 1e3

    async def _fetched(self, url: str, name: str, room: Room) -> bytes:
        fetch = partial(urls.fetch, url, self.settings.max_body_bytes, self.settings.timeout_s)
        try:
            data = await asyncio.get_running_loop().run_in_executor(self._fetchers, fetch)
        except urls.FetchError as error:
            raise Problem(422, f"{name}: {error}", "Give an address that anybody can read.", code="url") from error
        room.take(len(data))
        return data


def _check(model: Model, top: int | None, score: float | None) -> None:
    try:
        check_asked(model.first.task, top, score)
    except MisuseError as error:
        raise Problem(422, str(error), f"{model.name} is a model for the task {model.first.task}.") from error


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is cancelled when the client leaves.

    Raises:
        ClientDisconnect: it has left.
    """
    answer, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        gone.cancel()
        if answer.cancel():
            await asyncio.wait({answer})


async def _gone(request: Request) -> None:
    """Return when the client leaves; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _timing(said: Sequence[Said], total_ms: float) -> dict[str, Any]:
    """Of several images, the longest of each phase."""
    return {
        "decode_ms": round(max(each.decode_ms for each in said), 3),
        "queue_ms": round(max(each.queue_ms for each in said), 3),
        "infer_ms": round(max(each.infer_ms for each in said), 3),
        "total_ms": round(total_ms, 3),
        "batch": max(each.batch for each in said),
    }


def _plain(found: Prediction, size: tuple[int, int]) -> dict[str, Any]:
    """A prediction as clients read it."""
    told: dict[str, Any] = {"error": None, "size": list(size)}
    if found.detections is not None:
        return told | {"detections": [asdict(each) for each in found.detections]}
    if found.regions is not None:
        return told | {"regions": [asdict(each) for each in found.regions]}
    if not all(math.isfinite(score) for _, score in found.top):
        return told | {"error": "the model gave no numbers for this image."}
    top = [{"label": label, "score": score} for label, score in found.top]
    return told | {"label": found.label, "score": found.score, "top": top}
