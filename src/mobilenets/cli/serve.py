"""`mobilenets serve MODEL...`."""

from __future__ import annotations

from pathlib import Path

from mobilenets.errors import MissingExtraError, MisuseError


def run(
    *models: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_batch: int = 16,
    max_wait: float = 2.0,
    queue: int = 256,
    max_body: float = 20.0,
    max_pixels: float = 50.0,
    max_images: int = 32,
    timeout_s: float = 30.0,
    allow_urls: bool = False,
    token_file: Path | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
) -> int:
    """Answer over HTTP what checkpoints or exported files say of images; `/` is a page to try them.

    POST images to /v1/models/NAME:predict; /openapi.json describes it all. SIGTERM and Ctrl-C answer what is under way
    first.

    Args:
        models: checkpoints (.safetensors) or exported files (.onnx, .xml, .tflite, .pte, .pt2); NAME=FILE names one,
            else its file name does.
        host: address to listen on; 0.0.0.0 is every one of this machine's: give a token then.
        port: 0 takes a free one.
        max_batch: images of different requests that the network sees at once, at most.
        max_wait: milliseconds that an image waits for others, at most; only while others are being read.
        queue: requests of a model that may be under way; more are told to come back (429).
        max_body: megabytes of a request (413).
        max_pixels: megapixels of an image (413).
        max_images: of a request (413).
        timeout_s: seconds until an answer (503).
        allow_urls: fetch images from addresses on the public internet that requests name.
        token_file: holds the token that requests must carry; else the environment's MOBILENETS_TOKEN, if there is one.
        threads: processors to use; all unless given.
        runtime: of exported files: onnxruntime, openvino, litert, executorch or pytorch; each format has its own.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
    """
    from mobilenets.cli.output import stderr
    from mobilenets.serve.settings import Settings, token_from

    if not 0 <= port <= 65535:
        raise MisuseError(f"--port (={port}) must be from 0 to 65535.")
    settings = Settings(
        max_batch=max_batch, max_wait_ms=max_wait, queue=queue, max_body_bytes=_millions(max_body, "--max-body"),
        max_pixels=_millions(max_pixels, "--max-pixels"), max_images=max_images, timeout_s=timeout_s,
        allow_urls=allow_urls, token=token_from(token_file), threads=threads,
    )  # fmt: skip
    try:
        from mobilenets.serve.running import listening, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", purpose="`mobilenets serve`") from error
    from mobilenets.serve.models import open_models

    opened = open_models(models, settings, runtime=runtime, precision=precision)
    names = ", ".join(f"{name} ({model.first.task})" for name, model in opened.items())

    def ready(address: str) -> None:
        stderr().print(f"serving {names} at {address}", soft_wrap=True)

    with listening(host, port) as where:
        serve(opened, settings, where, on_ready=ready)
    return 0


def _millions(value: float, option: str) -> int:
    if not 0 < value < 1e6:
        raise MisuseError(f"{option} (={value:g}) must be above 0 and below 1,000,000.")
    return max(1, round(value * 1e6))
