"""What every runtime shares: the protocol, what a file says of itself, and fixed batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.metrics import Task
from mobilenets.outputs import PROBABILITIES, Outputs, Postprocess, output_names
from mobilenets.preprocessing import Preprocessing

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

Arithmetic = Literal["fp32", "bf16"]
"""What a runtime computes float operators in. Nobody chooses bf16 but the caller."""

ARITHMETICS = ("fp32", "bf16")


class Session(Protocol):
    """A loaded artifact.

    `precision` is the file's (`fp32`, `fp16` of weights, `int8`), with `+bf16` where the runtime was asked to compute
    its float operators so. `batch` is how many images the file takes at once; None where any number will do. `outputs`
    and `run` take any number in either case.
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

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name: see `mobilenets.outputs`."""
        ...

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c).

        Raises:
            MisuseError: the file gives boxes or masks.
        """
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What an exported file says of itself, whatever its format.

    Attributes:
        classes: names of the outputs, in order.
        preprocessing: how an image becomes the input.
        task: one class an image, or several; boxes or masks.
        precision: of weights, or of weights and activations.
        postprocess: whether boxes or masks are made inside the file.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    precision: str
    postprocess: Postprocess = "outside"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the file gives, in its order."""
        return output_names(self.task, self.postprocess)

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
        found = metadata.get("task", "classify")
        if found not in get_args(Task):
            raise CheckpointError(f"{where}: its task is {found!r}, not one of {', '.join(get_args(Task))}.")
        task: Task = found  # type: ignore[assignment]
        place: Postprocess = "inside" if metadata.get("postprocess") == "inside" else "outside"
        return Description(classes, preprocessing, task, metadata.get("precision", "fp32"), place)


def in_batches(call: Callable[[Images], Outputs], images: Images, batch: int) -> Outputs:
    """Results of a file that takes exactly `batch` images at once: the last ones are filled up with zeros."""
    found: list[Outputs] = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        missing = batch - len(part)
        whole = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.uint8)]) if missing else part
        # a runtime may write the next result over this one
        given = call(np.ascontiguousarray(whole))
        found.append({name: np.array(value)[: len(part)] for name, value in given.items()})
    return joined(found)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of batches as those of all their images."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def probabilities_of(outputs: Outputs) -> Probabilities:
    """The class probabilities among outputs.

    Raises:
        MisuseError: there are none.
    """
    if PROBABILITIES not in outputs:
        raise MisuseError(f"the file gives {', '.join(outputs)}, no class probabilities: ask for its `outputs`.")
    return outputs[PROBABILITIES]


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
