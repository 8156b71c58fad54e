"""What every runtime shares: the protocol, what a file says of itself, and fixed batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.metrics import Task
from mobilenets.preprocessing import Preprocessing

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

Arithmetic = Literal["fp32", "bf16"]
"""What a runtime computes float operators in. Nobody chooses bf16 but the caller."""

ARITHMETICS = ("fp32", "bf16")


class Session(Protocol):
    """A loaded artifact.

    `precision` is the file's (`fp32`, `fp16` of weights, `int8`), with `+bf16` where the runtime was asked to compute
    its float operators so. `batch` is how many images the file takes at once; None where any number will do. `run`
    takes any number in either case.
    """

    runtime: str
    version: str
    threads: int
    precision: str
    batch: int | None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    metadata: Mapping[str, str]

    def outputs(self, images: Images) -> dict[str, NDArray[Any]]:
        """Outputs by name of uint8 images (n, h, w, c)."""
        ...

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What an exported file says of itself, whatever its format.

    Attributes:
        classes: names of the outputs, in order.
        preprocessing: how an image becomes the input.
        task: one class an image, or several.
        precision: of weights, or of weights and activations.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    precision: str

    @staticmethod
    def of(metadata: Mapping[str, str], where: str) -> Description:
        """From a file's metadata, texts by name.

        Raises:
            CheckpointError: what every exported file carries is not there, or not readable.
        """
        try:
            classes = tuple(json.loads(metadata["classes"]))
            preprocessing = Preprocessing.from_dict(json.loads(metadata["preprocessing"]))
        except (KeyError, TypeError, ValueError, MisuseError) as error:
            raise CheckpointError(
                f"{where}: its metadata lacks readable `classes` and `preprocessing`, which `mobilenets export` "
                f"writes: {error}"
            ) from error
        task: Task = next((known for known in get_args(Task) if known == metadata.get("task")), "classify")
        return Description(classes, preprocessing, task, metadata.get("precision", "fp32"))


def in_batches(call: Callable[[Images], Any], images: Images, batch: int) -> Probabilities:
    """Results of a file that takes exactly `batch` images at once: the last ones are filled up with zeros."""
    found = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        missing = batch - len(part)
        whole = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.uint8)]) if missing else part
        # a runtime may write the next result over this one
        found.append(np.array(call(np.ascontiguousarray(whole)), np.float32)[: len(part)])
    return np.concatenate(found)


def only_fp32(precision: str | None, runtime: str) -> None:
    """Refuse another arithmetic in a runtime that has no other.

    Raises:
        MisuseError: anything but fp32 was asked for.
    """
    if precision not in (None, "fp32"):
        raise MisuseError(
            f"{runtime} computes float operators in fp32 here, not in {precision!r}. bf16 is OpenVINO's: "
            "--runtime openvino --precision bf16."
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def existing(path: str | Path) -> Path:
    """The path of a file that is there.

    Raises:
        MisuseError: it is not.
    """
    if not Path(path).is_file():
        raise MisuseError(f"no such file: {path}.")
    return Path(path)
