"""The formats: what each is called, which suffix and precisions it has, what runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.precision import Precision

FormatName = Literal["onnx", "openvino", "litert", "executorch", "coreml", "c", "pytorch"]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of exported file.

    Attributes:
        name: as `--formats` takes it.
        title: as people call it.
        suffix: of the file, or of the folder.
        precisions: what it can hold.
        beside: suffixes of the files that belong to it.
        weights_only: int8 means its weights, which wants no images; activations stay in float.
        inside: whether boxes and masks can be made inside the file; else its outputs are raw.
    """

    name: FormatName
    title: str
    suffix: str
    precisions: tuple[Precision, ...]
    beside: tuple[str, ...] = ()
    weights_only: bool = False
    inside: bool = False


FORMATS: dict[str, Format] = {
    format.suffix: format
    for format in (
        Format("onnx", "ONNX", ".onnx", ("fp32", "fp16", "int8"), inside=True),
        Format("openvino", "OpenVINO IR", ".xml", ("fp32", "fp16", "int8"), beside=(".bin",), inside=True),
        Format("litert", "LiteRT", ".tflite", ("fp32", "fp16", "int8")),
        Format("executorch", "ExecuTorch", ".pte", ("fp32", "int8")),
        Format("coreml", "Core ML", ".mlpackage", ("fp32", "fp16", "int8"), weights_only=True),
        Format("c", "C", ".c", ("fp32", "int8"), beside=(".h",), weights_only=True),
        Format("pytorch", "PyTorch archive", ".pt2", ("fp32",)),
    )
}
"""File suffix -> format."""


def format_of(path: Path) -> Format:
    """The format that a file's suffix names.

    Raises:
        UnknownNameError: a suffix that no format has.
    """
    if path.suffix not in FORMATS:
        raise UnknownNameError("export format", path.suffix or str(path), FORMATS, hint=f"Known: {', '.join(FORMATS)}.")
    return FORMATS[path.suffix]


def check_precision(format: Format, precision: Precision) -> None:
    """Refuse a precision that the format does not have.

    Raises:
        UnknownNameError: no such precision.
        MisuseError: the format does not have it.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise UnknownNameError("precision", precision, get_args(Precision), hint=f"Known: {known}.")
    if precision not in format.precisions:
        raise MisuseError(f"{format.title} ({format.suffix}) has no {precision} here: {', '.join(format.precisions)}.")
