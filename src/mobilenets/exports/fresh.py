"""An artifact run as its users will: in a fresh process, by its own runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.errors import CheckpointError, MobileNetsError
from mobilenets.exports import c_kernels
from mobilenets.outputs import PROBABILITIES, Outputs
from mobilenets.runtime.session import Images, Probabilities
from mobilenets.table import json as table_json
from mobilenets.table.lower import lower
from mobilenets.table.nodes import outputs as outputs_of


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of a process.

    Attributes:
        outputs: by name, see `mobilenets.outputs`; None where this machine cannot run the format.
        runtime: name and version, or why nothing ran.
        precision: of the file, as the runtime was asked to compute it.
        batch: images that the file takes at once; None for any number.
        metadata: what the file says of itself.
    """

    outputs: Outputs | None
    runtime: str
    precision: str
    batch: int | None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def probabilities(self) -> Probabilities | None:
        """Of classes, where the file gives them."""
        return None if self.outputs is None else self.outputs.get(PROBABILITIES)


def run_fresh(
    artifact: Path, images: Images, *, runtime: str | None = None, precision: str | None = None, threads: int = 1
) -> Run:
    """What an artifact gives for uint8 images (n, h, w, c) in a process of its own.

    Args:
        artifact: an exported file of any format that a runtime here can read.
        images: preprocessed to the model's resolution.
        runtime: one of those that read it; None takes the format's own.
        precision: of float arithmetic; fp32 unless asked otherwise.
        threads: threads inside an operator.

    Raises:
        CheckpointError: it cannot be loaded, or its runtime died of it.
        MissingExtraError: the runtime is not installed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", images)
        command = [sys.executable, "-m", "mobilenets.runtime.worker", str(artifact), str(folder / "images.npy")]
        command += [str(folder / "out.npz"), "--threads", str(threads)]
        command += ["--runtime", runtime] if runtime else []
        command += ["--precision", precision] if precision else []
        process = subprocess.run(command, check=False, capture_output=True, text=True, env=_environment())
        about = _answer(artifact, process)
        with np.load(folder / "out.npz") as found:
            outputs = dict(found)
    return Run(outputs, about["runtime"], about["precision"], about["batch"], about["metadata"])


def _environment() -> dict[str, str]:
    """Ours, in which the process finds this package wherever we did, and does not spin while it waits."""
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | {"PYTHONPATH": path}


def _answer(artifact: Path, process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(process.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = (process.stderr.strip().splitlines() or [""])[-1]
        raise CheckpointError(
            f"{artifact}: the process that ran it ended with code {process.returncode}. {said}"
        ) from error
    if "error" in about:
        raise _as_raised(about["kind"], about["error"])
    return about


def _as_raised(kind: str, message: str) -> MobileNetsError:
    """The error of the other process, as one of ours."""
    found = getattr(sys.modules[CheckpointError.__module__], kind, CheckpointError)
    error: MobileNetsError = found.__new__(found)
    Exception.__init__(error, message)
    return error


def compiler() -> str | None:
    """A C compiler of this machine."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def run_c(artifact: Path, images: Images) -> Run:
    """The same for a `.c` file, compiled here; nothing runs where there is no compiler.

    Raises:
        CheckpointError: it does not compile, or dies.
    """
    from mobilenets.exports.c_ import metadata_of, prefix_of

    metadata, name = metadata_of(artifact), prefix_of(artifact)
    precision, cc = metadata.get("precision", "fp32"), compiler()
    if cc is None:
        return Run(None, "not run here: no C compiler (cc, gcc, clang)", precision, 1, metadata)
    with tempfile.TemporaryDirectory() as folder:
        main, program = Path(folder) / "main.c", Path(folder) / "program"
        header = artifact.with_suffix(".h")
        main.write_text(c_kernels.MAIN.format(header=header.name, name=name, NAME=name.upper()), encoding="utf-8")
        options = ["-std=c99", "-O2", f"-I{artifact.parent}", str(artifact), str(main), "-o", str(program), "-lm"]
        built = subprocess.run([cc, *options], check=False, capture_output=True, text=True)
        if built.returncode:
            first = next((line for line in built.stderr.splitlines() if "error" in line), built.stderr[:200])
            raise CheckpointError(f"{artifact}: {cc} cannot compile it: {first}")
        ran = subprocess.run([str(program)], check=False, input=images.tobytes(), capture_output=True)
    found = np.frombuffer(ran.stdout, np.float32)
    shapes = raw_shapes(metadata)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if ran.returncode or len(found) != len(images) * sum(sizes):
        raise CheckpointError(f"{artifact}: the compiled program ended with code {ran.returncode}.")
    parts = np.split(found.reshape(len(images), -1), np.cumsum(sizes)[:-1], axis=1)
    values = zip(shapes.items(), parts, strict=True)
    outputs: Outputs = {name: part.reshape(-1, *shape) for (name, shape), part in values}
    return Run(outputs, f"{Path(cc).name} -O2", precision, 1, metadata)


def raw_shapes(metadata: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Shapes of a raw file's outputs, without the batch, by name."""
    network = table_json.from_dict(json.loads(metadata["table"]))
    names = json.loads(metadata["outputs"])
    ends = outputs_of(lower(network))
    shapes = [(network.classes,)] if network.task == "classify" else [node.shape for node in ends]
    return dict(zip(names, shapes, strict=True))
