"""What teachers say about the training images: asked once, kept on disk, mixed with the labels in the loss.

Distillation as Hinton et al. (arXiv:1503.02531) and as MobileNetV1, sections 4.6 and 4.7, use it: softened class
probabilities of a larger network, or of several together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mobilenets.data.augment import plain
from mobilenets.data.batches import eval_batches
from mobilenets.data.cache import Squares
from mobilenets.errors import CheckpointError
from mobilenets.files import cache_folder, replacing
from mobilenets.metrics import Task
from mobilenets.model import MobileNet, load, normalise
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import SUFFIXES, open_artifact

FORMAT = 2
"""Raised when what is kept on disk changes its meaning."""

Probabilities = NDArray[np.float32]


def ask_teachers(
    teachers: Sequence[str | Path],
    squares: Squares,
    classes: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None],
) -> Tensor:
    """Mean class probabilities of all teachers, (images, classes) float32, in the student's order of classes.

    They see each image as it is, not its augmentations: so they are asked once, and answers are kept in the cache
    folder under the teacher's and the images' own bytes.

    Args:
        teachers: checkpoints (.safetensors) or exported files (.onnx).
        squares: the training images.
        classes: the student's.
        on_progress: called with (images done, in all).
        note: told where an answer comes from the disk.

    Raises:
        MisuseError: no such file.
        CheckpointError: a teacher of other classes; the message lists both sides.
    """
    answers = [_answer(Path(t), squares, tuple(classes), on_progress, note) for t in teachers]
    return torch.from_numpy(np.mean(answers, axis=0, dtype=np.float32))


def softened(probabilities: Tensor, temperature: float, task: Task = "classify") -> Tensor:
    """Probabilities at a temperature, as from the logits divided by it."""
    if task == "multi-label":
        return (probabilities.clamp(1e-6, 1 - 1e-6).logit() / temperature).sigmoid()
    return (probabilities.clamp_min(1e-8).log() / temperature).softmax(-1)


def distillation_loss(logits: Tensor, soft: Tensor, temperature: float, task: Task = "classify") -> Tensor:
    """Cross-entropy with a teacher's softened probabilities, times T squared, which keeps its gradient's size."""
    if task == "multi-label":
        return temperature**2 * F.binary_cross_entropy_with_logits(logits / temperature, soft)
    return temperature**2 * F.cross_entropy(logits / temperature, soft)


def _answer(
    path: Path, squares: Squares, classes: tuple[str, ...], on_progress: Callable[[int, int], None] | None,
    note: Callable[[str], None],
) -> Probabilities:  # fmt: skip
    run, chosen, known = _opened(path)
    order = _order(path, known, classes)
    kept = cache_folder() / "teachers" / f"{_key(path, squares)}.npy"
    found = _read(kept, (len(squares), len(classes)))
    if found is None:
        parts = []
        for pixels, _ in eval_batches(squares, 64):
            images = plain(pixels, chosen.resolution, crop=chosen.crop, interpolation=chosen.interpolation)
            parts.append(run(images))
            if on_progress is not None:
                on_progress(sum(map(len, parts)), len(squares))
        found = np.concatenate(parts).astype(np.float32)
        _keep(kept, found, note)
    else:
        note(f"{path}: its answers are kept in {kept}")
    return found[:, order]


def _opened(path: Path) -> tuple[Callable[[Tensor], Probabilities], Preprocessing, tuple[str, ...]]:
    """(images n c h w in [0, 1] -> probabilities, what it does to images, class names) of a teacher."""
    if path.suffix.lower() in SUFFIXES:
        session = open_artifact(path, threads=torch.get_num_threads())

        def run(images: Tensor) -> Probabilities:
            return session.run((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())

        return run, session.preprocessing, session.classes
    model = load(path)
    return _module(model), model.info.preprocessing, model.info.classes


def _module(model: MobileNet) -> Callable[[Tensor], Probabilities]:
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(images: Tensor) -> Probabilities:
        with torch.inference_mode():
            logits = model(normalise(images, model.info.preprocessing))
            probabilities: Probabilities = model.probabilities(logits).numpy()
        return probabilities

    return run


def _order(path: Path, known: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
    """Where the student's classes lie among the teacher's outputs."""
    if set(known) != set(classes):
        lines = [f"  - {name}" for name in sorted(set(classes) - set(known))[:10]]
        lines += [f"  + {name}" for name in sorted(set(known) - set(classes))[:10]]
        shown = "\n".join(lines)
        raise CheckpointError(
            f"{path}: a teacher of other classes (- only in the data, + only in the teacher):\n{shown}\n"
            "Train the teacher on these classes first."
        )
    return [known.index(name) for name in classes]


def _key(path: Path, squares: Squares) -> str:
    """Of a teacher's and the images' bytes."""
    digest = hashlib.blake2b(f"{FORMAT} {squares.images.shape}".encode(), digest_size=16)
    digest.update(path.read_bytes())
    for start in range(0, len(squares), 1024):
        digest.update(np.ascontiguousarray(squares.images[start : start + 1024]).data)
    return digest.hexdigest()


def _read(path: Path, shape: tuple[int, int]) -> Probabilities | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def _keep(path: Path, answers: Probabilities, note: Callable[[str], None]) -> None:
    try:
        with replacing(path) as temporary:
            np.save(temporary, answers)
    except OSError as error:
        note(f"the teacher's answers cannot be kept in {path.parent}: {error.strerror or error}.")
