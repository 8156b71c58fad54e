"""The page's own files, and those of onnxruntime-web that it loads."""

from __future__ import annotations

from importlib.metadata import files as installed
from pathlib import Path

from mobilenets.errors import MisuseError
from mobilenets.latency.devices.browser import ORT_WEB_VERSION, onnxruntime_web

_RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""The processor's three, and the GPU's: a browser loads one set."""
_LICENCES = ("LICENSE", "ThirdPartyNotices.txt")


def runtime_files() -> dict[str, Path]:
    """Files of onnxruntime-web and their licences, by the names that the page knows under /static/ort/.

    Raises:
        MisuseError: onnxruntime-web is not there, or not whole.
    """
    folder = onnxruntime_web("the web page")
    found = {name: folder / name for name in _RUNTIME}
    if missing := [name for name, path in found.items() if not path.is_file()]:
        raise MisuseError(f"the web page needs onnxruntime-web {ORT_WEB_VERSION}: {folder} lacks {', '.join(missing)}.")
    return found | _licences()


def _licences() -> dict[str, Path]:
    """The npm package carries no licence text; ONNX Runtime's Python package, built of the same sources, does."""
    paths = [Path(str(file.locate())) for file in installed("onnxruntime") or () if file.name in _LICENCES]
    return {path.name: path for path in paths if path.is_file()}
