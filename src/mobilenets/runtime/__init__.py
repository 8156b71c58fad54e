"""Runtimes behind one Protocol, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.runtime.session import Session, only_fp32

__all__ = ["RUNTIMES", "SUFFIXES", "Session", "describe", "open_artifact", "runtimes_of"]

SUFFIXES: dict[str, tuple[str, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".tflite": ("litert",),
    ".pte": ("executorch",),
    ".pt2": ("pytorch",),
}
"""Artifact suffix -> runtimes that read it, its own first."""

RUNTIMES = ("onnxruntime", "openvino", "litert", "executorch", "pytorch")


def open_artifact(
    path: str | Path, *, threads: int = 1, runtime: str | None = None, precision: str | None = None
) -> Session:
    """Load an exported file.

    Args:
        path: the file; its suffix says which runtimes can read it.
        threads: threads inside an operator.
        runtime: one of them; None takes the format's own.
        precision: of float arithmetic, fp32 unless asked otherwise: `bf16` is OpenVINO's.

    Raises:
        UnknownNameError: a suffix that no runtime reads, or no such runtime.
        MisuseError: no such file, a runtime that does not read it, or arithmetic that it does not have.
        MissingExtraError: the runtime is not installed.
        CheckpointError: a file that cannot be loaded.
    """
    match _chosen(path, runtime):
        case "openvino":
            from mobilenets.runtime.openvino import OpenVinoSession

            return OpenVinoSession.open(path, threads=threads, precision=precision)
        case "litert":
            from mobilenets.runtime.litert import LiteRtSession

            only_fp32(precision, "LiteRT")
            return LiteRtSession.open(path, threads=threads)
        case "executorch":
            from mobilenets.runtime.executorch import ExecuTorchSession

            only_fp32(precision, "ExecuTorch")
            return ExecuTorchSession.open(path, threads=threads)
        case "pytorch":
            from mobilenets.runtime.pytorch import PyTorchSession

            only_fp32(precision, "PyTorch")
            return PyTorchSession.open(path, threads=threads)
        case _:
            from mobilenets.runtime.onnxruntime import OnnxRuntimeSession

            only_fp32(precision, "ONNX Runtime")
            return OnnxRuntimeSession.open(path, threads=threads)


def runtimes_of(path: str | Path) -> tuple[str, ...]:
    """Runtimes that read files of this suffix, the format's own first.

    Raises:
        UnknownNameError: a suffix that no runtime reads.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UnknownNameError("kind of exported file", str(path), SUFFIXES, hint=f"Known: {', '.join(SUFFIXES)}.")
    return SUFFIXES[suffix]


def _chosen(path: str | Path, runtime: str | None) -> str:
    able = runtimes_of(path)
    if runtime is None:
        return able[0]
    if runtime not in RUNTIMES:
        raise UnknownNameError("runtime", runtime, RUNTIMES, hint=f"Known: {', '.join(RUNTIMES)}.")
    if runtime not in able:
        raise MisuseError(f"{runtime} does not read {path}: {Path(path).suffix} files run in {' or '.join(able)}.")
    return runtime


def describe(session: Session) -> dict[str, Any]:
    """Runtime, version, threads and precision, for reports."""
    return {
        "runtime": f"{session.runtime} {session.version}",
        "threads": session.threads,
        "precision": session.precision,
    }
