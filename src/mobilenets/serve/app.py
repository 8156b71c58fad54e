"""The routes: models, predictions, the page, health, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from mobilenets.errors import MisuseError
from mobilenets.latency.devices.browser import onnxruntime_web
from mobilenets.page import PAGE
from mobilenets.serve.bodies import LARGEST_TOP, JsonRequest
from mobilenets.serve.guard import MODEL, Guard
from mobilenets.serve.models import Model
from mobilenets.serve.problems import Problem, json_response
from mobilenets.serve.service import Service
from mobilenets.serve.settings import Settings
from mobilenets.version import __version__
from mobilenets.web import anchors_bytes, browser_description

Top = Annotated[int | None, Query(ge=1, le=LARGEST_TOP, description="Classes or boxes told of an image.")]
Score = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False, description="Least score of a box.")]


class ErrorDetail(BaseModel):
    """What went wrong, for programs and for people."""

    code: str
    message: str
    hint: str


class ErrorBody(BaseModel):
    """The body of every response that is not 2xx."""

    error: ErrorDetail


_ANY: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        401: "No token, or another one, where the server asks for one.",
        404: "No such model or page.",
        422: "A damaged image, or values out of range.",
        503: "Stopping, or no answer in time.",
    }.items()
}
_PREDICT: dict[int | str, dict[str, Any]] = _ANY | {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "Not JSON, or no multipart form.",
        413: "Too many bytes, pixels or images.",
        415: "Not an image, or a body of another type.",
        429: "As much under way as may be; see Retry-After.",
    }.items()
}
_IMAGE = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "array", "items": _IMAGE, "minItems": 1}},
}


def _json_schema() -> dict[str, Any]:
    """Of a JSON request, without references: FastAPI does not know of it."""
    schema = JsonRequest.model_json_schema()
    schema["properties"]["images"]["items"] = schema.pop("$defs")["JsonImage"]
    return schema


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _IMAGE},
            "image/*": {"schema": _IMAGE},
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": _json_schema()},
        },
    }
}


def create_app(models: Mapping[str, Model], settings: Settings) -> FastAPI:
    """The application of some opened models; `app.state.service` answers its predict requests."""
    service = Service(models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="mobilenets", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        summary="Labels, boxes and masks of images.",
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Guard, service=service)
    _tell_problems(app)
    _health(app, service)
    _models(app, service)
    _predict(app, service)
    _page(app)
    return app


def _tell_problems(app: FastAPI) -> None:
    """Every error in the same form."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        hint = "GET /openapi.json tells what there is."
        told = Problem(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}", hint)
        told.headers |= dict(error.headers or {})
        return await problem(request, told)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        return await problem(request, Problem(422, f"{where}: {first['msg']}", "See /openapi.json."))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Problem(400, "the connection ended before the request.").response()

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return Problem(500, "the server failed; its log says why.", "Please report it.").response()


def _health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: _ANY[503]})
    async def readyz() -> dict[str, str]:
        """Whether requests are welcome: models are loaded, and the server is not stopping."""
        if service.draining:
            raise Problem(503, "the server is stopping.", "Ask another one.", code="stopping")
        return {"status": "ready"}

    @app.get("/metrics", tags=["health"], response_class=Response, responses={401: _ANY[401]})
    async def metrics() -> Response:
        """Counters in Prometheus' form."""
        return Response(service.meters.text(), media_type=service.meters.content_type)


def _models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", tags=["models"], responses={401: _ANY[401]})
    async def models() -> dict[str, Any]:
        """All models."""
        return {"models": [each.to_dict() for each in service.models.values()]}

    @app.get("/v1/models/{name}", tags=["models"], responses=_ANY)
    async def model(name: str) -> dict[str, Any]:
        """A model."""
        return service.model(name).to_dict()

    @app.get("/v1/models/{name}/browser.json", tags=["browser"], responses=_ANY)
    async def browser_json(name: str) -> dict[str, Any]:
        """What a page needs to run a model by itself."""
        return browser_description(_for_browsers(service, name).first, name)

    @app.get("/v1/models/{name}/model.onnx", tags=["browser"], response_class=FileResponse, responses=_ANY)
    async def model_file(name: str) -> Response:
        """A model's file."""
        return FileResponse(_for_browsers(service, name).path, media_type="application/octet-stream")

    @app.get("/v1/models/{name}/anchors.bin", tags=["browser"], response_class=Response, responses=_ANY)
    async def anchors(name: str) -> Response:
        """A detector's anchors, float32 little endian."""
        if (found := anchors_bytes(_for_browsers(service, name).first, name)) is None:
            raise Problem(404, f"{name} needs no anchors.", "browser.json says whether a model does.")
        return Response(found, media_type="application/octet-stream")


def _for_browsers(service: Service, name: str) -> Model:
    found = service.model(name)
    if not found.browser:
        raise Problem(
            404, f"{name} is no .onnx file of grey or colour images: browsers cannot run it.", "Let the server do it."
        )
    return found


def _predict(app: FastAPI, service: Service) -> None:
    @app.post("/v1/models/{name}:predict", tags=["predict"], responses=_PREDICT, openapi_extra=_BODY)
    async def predict(request: Request, name: str, top: Top = None, score: Score = None) -> Response:
        """Labels, boxes or masks of the images in the body."""
        request.scope[MODEL] = name if name in service.models else ""
        return json_response(await service.predict(request, name, top, score))


def _page(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return FileResponse(PAGE / "index.html")

    with suppress(MisuseError):  # without it the page lets the server do the work
        app.mount("/static/ort", StaticFiles(directory=onnxruntime_web()))
    app.mount("/static", StaticFiles(directory=PAGE))
