"""`mobilenets bench MODEL`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.errors import MisuseError
from mobilenets.latency import Latency, benchmark


def run(
    model: str,
    /,
    *,
    threads: int = 1,
    runs: int = 100,
    width: float = 1.0,
    resolution: int | None = None,
    json: bool = False,
) -> None:
    """Measure the latency of one image through the artifact's runtime, preprocessing included, decoding not.

    Args:
        model: an exported file (.onnx), a checkpoint (.safetensors), or a network's name (random weights).
        threads: threads inside an operator.
        runs: timed runs, after warming up.
        width: width multiplier, for a network's name.
        resolution: input height and width in pixels, for a network's name.
        json: one JSON object on stdout.
    """
    if threads < 1 or runs < 1:
        raise MisuseError(f"--threads (={threads}) and --runs (={runs}) must be at least 1.")
    result = _measure(model, threads, runs, width, resolution)
    if json:
        print_json({"model": model, **result.to_dict()})
    else:
        stdout().print(f"{model}: {result}")


def _measure(model: str, threads: int, runs: int, width: float, resolution: int | None) -> Latency:
    suffix = Path(model).suffix
    if suffix == ".safetensors":
        from mobilenets.exports import export

        with tempfile.TemporaryDirectory() as folder:
            artifact = Path(folder) / "model.onnx"
            export(model, artifact)
            return benchmark(artifact, threads=threads, runs=runs)
    if suffix in ("", ".json"):
        return benchmark(resolve(model, width=width, resolution=resolution), threads=threads, runs=runs)
    return benchmark(model, threads=threads, runs=runs)
