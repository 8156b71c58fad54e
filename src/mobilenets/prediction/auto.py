"""`--runtime auto`: the fastest runtime, on this machine, whose answers pass; measured once, then remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import decode, scenes
from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError, MobileNetsError
from mobilenets.files import cache_folder, write_text
from mobilenets.latency import processor
from mobilenets.latency.runner import time_call
from mobilenets.processors import processors
from mobilenets.runtime import Session, open_artifact, runtimes_of

Images = NDArray[np.uint8]

LOSS = 0.01
"""What an option may cost: the probability, by the file in its own runtime and fp32, of the class that this one names
most likely against that of the class which the option names. Of a model that is as often right as it says, its mean is
the accuracy lost: one point."""
CHANGE = 0.05
"""Largest mean change of the most likely class's probability, so that scores keep their meaning. MobileNetV2 on photos:
0.013 in bf16, 0.015 in int8."""
SAMPLE, LEAST = 16, 8
"""Images of the user's that decide, and how many there must be at least."""
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Option:
    """A file in a runtime, with the arithmetic of its float operators."""

    path: Path
    runtime: str
    arithmetic: str = "fp32"

    @property
    def label(self) -> str:
        """File, runtime and arithmetic in words."""
        return f"{self.path.name} in {self.runtime}" + (f" {self.arithmetic}" if self.arithmetic != "fp32" else "")


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of an option.

    Attributes:
        label: file, runtime and arithmetic.
        median_ms: of one image; None where it was not timed.
        loss: of accuracy, expected from the reference's own probabilities.
        change: mean, of the probability of the class that the reference holds most likely.
        why_not: why it was not timed.
    """

    label: str
    median_ms: float | None
    loss: float | None
    change: float | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest option that passed, and what all of them did.

    Attributes:
        path: the file.
        runtime: what it runs in.
        arithmetic: of its float operators.
        tried: all options, fastest first, those that failed last.
        remembered: whether an earlier measurement answered.
    """

    path: Path
    runtime: str
    arithmetic: str
    tried: tuple[Tried, ...]
    remembered: bool = False

    def __str__(self) -> str:
        times = ", ".join(f"{t.label} {t.median_ms:.2f} ms" for t in self.tried if t.median_ms is not None)
        kept = " (measured before)" if self.remembered else ""
        return f"runtime auto: {Option(self.path, self.runtime, self.arithmetic).label}{kept}; of {times}"


def options(model: Path) -> list[Option]:
    """What can be tried: a file in every runtime that reads it; of a bundle, every file that was verified.

    The first one is the reference: its own runtime, fp32.

    Raises:
        MisuseError: a folder that is no bundle, or one in which nothing was verified.
    """
    paths = _verified(model) if model.is_dir() else [model]
    found = []
    for path in paths:
        for runtime in runtimes_of(path):
            found.append(Option(path, runtime))
            if runtime == "openvino":
                found.append(Option(path, runtime, "bf16"))
    return found


def _verified(bundle: Path) -> list[Path]:
    """Files of a bundle that can run here and agreed with their model, fp32 first."""
    try:
        listed = json.loads((bundle / "artifacts.json").read_text(encoding="utf-8"))["artifacts"]
        good = [a for a in listed if (a.get("verification") or {}).get("passed")]
        good.sort(key=lambda a: (a["precision"] != "fp32", a["format"] != "onnx"))
        paths = [bundle / a["file"] for a in good]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MisuseError(
            f"{bundle} is a folder, but no bundle of `mobilenets export` ({error}): name a file in it."
        ) from error
    if not paths:
        raise MisuseError(f"{bundle}: none of its files was verified on a machine like this. Export again.")
    return paths


def choose(
    model: Path, images: Images, *, threads: int = 1, note: Callable[[str], None] | None = None, fresh: bool = False
) -> tuple[Choice, Session]:
    """The fastest of what is installed whose answers pass, opened.

    Runtimes are timed in interleaved rounds, so that a busy moment hits all of them.

    Args:
        model: an exported file, or a bundle's folder.
        images: uint8 (n, h, w, c), preprocessed; their answers decide what passes.
        threads: threads inside an operator.
        note: told what was chosen.
        fresh: measure even where a choice is remembered.

    Raises:
        MisuseError: no such file, or a kind that no runtime reads.
        CheckpointError: the reference itself cannot be loaded.
    """
    able = options(model)
    key = _key(able, threads)
    choice = None if fresh else _remembered(key, able)
    if choice is None:
        choice = _measured(able, images, threads)
        with suppress(OSError):  # a full disk costs the next call two seconds, not this one its end
            write_text(_cached(key), json.dumps(_to_dict(choice, model), indent=1))
    if note is not None:
        note(str(choice))
    return choice, open_artifact(choice.path, threads=threads, runtime=choice.runtime, precision=choice.arithmetic)


def _measured(able: Sequence[Option], images: Images, threads: int) -> Choice:
    reference = open_artifact(able[0].path, threads=threads, runtime=able[0].runtime)
    if reference.task in ("detect", "segment"):
        raise MisuseError(
            f"{able[0].path}: `auto` judges runtimes by class probabilities, and this file gives "
            f"{', '.join(reference.outputs(images[:1]))}: name a runtime, such as --runtime {able[0].runtime}."
        )
    expected = reference.run(images)
    sessions, moved = {able[0]: reference}, {able[0]: (0.0, 0.0)}
    failed: list[Tried] = []
    for option in able[1:]:
        try:
            session = open_artifact(option.path, threads=threads, runtime=option.runtime, precision=option.arithmetic)
            moved[option] = _moved(expected, session.run(images))
        except MobileNetsError as error:  # not installed, or not able
            failed.append(Tried(option.label, None, None, None, str(error).splitlines()[0]))
            continue
        loss, change = moved[option]
        if loss <= LOSS and change <= CHANGE:
            sessions[option] = session
        else:
            why = f"answers change by {change:.3f}, {100 * loss:.1f} points of accuracy"
            failed.append(Tried(option.label, None, loss, change, why))
    times = _interleaved_ms(sessions, images[:1])
    order = sorted(times, key=lambda option: times[option])
    best = order[0]
    done = [Tried(option.label, times[option], *moved[option]) for option in order]
    return Choice(best.path, best.runtime, best.arithmetic, (*done, *failed))


def _interleaved_ms(sessions: Mapping[Option, Session], image: Images, rounds: int = 5) -> dict[Option, float]:
    """Median milliseconds of one image; every round has some runs of each session."""
    found: dict[Option, list[float]] = {option: [] for option in sessions}
    for _ in range(rounds):
        for option, session in sessions.items():
            found[option] += time_call(partial(session.run, image), runs=20, warmup_s=0.03, limit_s=0.15)
    return {option: float(np.median(times)) for option, times in found.items()}


def _moved(expected: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, float]:
    """(accuracy lost by what the reference holds likely, mean change of its most likely class's probability)."""
    if not np.isfinite(found).all():
        return float("inf"), float("inf")
    rows, top = np.arange(len(expected)), expected.argmax(1)
    loss = expected[rows, top] - expected[rows, found.argmax(1)]
    return float(loss.mean()), float(np.abs(expected[rows, top] - found[rows, top]).mean())


def _key(able: Sequence[Option], threads: int) -> str:
    """What a choice holds for: the files, this processor, its runtimes' versions, the threads."""
    from importlib.metadata import PackageNotFoundError, version

    parts = [str(FORMAT), processor(), str(threads), str(LOSS), str(CHANGE)]
    for package in ("onnxruntime", "openvino", "ai-edge-litert", "executorch", "torch"):
        with suppress(PackageNotFoundError):
            parts.append(f"{package} {version(package)}")
    parts += [f"{o.runtime} {o.arithmetic} {hashlib.sha256(o.path.read_bytes()).hexdigest()}" for o in able]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cached(key: str) -> Path:
    return cache_folder() / "runtime" / f"{key}.json"


def _to_dict(choice: Choice, model: Path) -> dict[str, Any]:
    chosen = {"file": choice.path.name, "runtime": choice.runtime, "arithmetic": choice.arithmetic}
    return {"model": str(model), **chosen, "tried": [asdict(tried) for tried in choice.tried]}


def _remembered(key: str, able: Sequence[Option]) -> Choice | None:
    try:
        kept = json.loads(_cached(key).read_text(encoding="utf-8"))
        tried = tuple(Tried(**values) for values in kept["tried"])
        wanted = (kept["file"], kept["runtime"], kept["arithmetic"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    option = next((o for o in able if (o.path.name, o.runtime, o.arithmetic) == wanted), None)
    return None if option is None else Choice(option.path, option.runtime, option.arithmetic, tried, remembered=True)


def wants_auto(model: object, runtime: str | None) -> bool:
    """Whether the runtime is to be chosen: asked for, or a whole bundle was named."""
    return runtime == "auto" or (runtime is None and isinstance(model, str | Path) and Path(model).is_dir())


def open_auto(
    model: object,
    files: Callable[[Session], Sequence[Source]],
    *,
    threads: int | None = None,
    precision: str | None = None,
    note: Callable[[str], None] | None = None,
) -> Session:
    """The session of `choose_for`."""
    return choose_for(model, files, threads=threads, precision=precision, note=note)[1]


def choose_for(
    model: object,
    files: Callable[[Session], Sequence[Source]],
    *,
    threads: int | None = None,
    precision: str | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[Choice, Session]:
    """`choose` by a user's own images: the first sixteen that can be read, and generated scenes where those are few.

    Args:
        model: an exported file, or a bundle's folder.
        files: the images, for a session that knows the classes.
        threads: inside an operator; None takes all processors.
        precision: must not be given: the choice is among all.
        note: told what was chosen.

    Raises:
        MisuseError: a checkpoint, a model in memory, a precision, or a kind that no runtime reads.
    """
    if not isinstance(model, str | Path) or Path(model).suffix == ".safetensors":
        raise MisuseError(
            f"runtime auto chooses among the runtimes of exported files; {model} is none: export it first."
        )
    if precision is not None:
        raise MisuseError(f"runtime auto chooses the precision, too: leave out {precision!r}, or name the runtime.")
    path, threads = Path(model), threads or processors()
    reference = open_artifact(options(path)[0].path)
    contract = reference.preprocessing
    images = []
    for file in files(reference)[:SAMPLE]:
        with suppress(DataError):
            images.append(decode.load_image(file, contract))
    for seed in range(LEAST - len(images)):
        drawn = decode.as_channels(scenes.scene(seed, size=contract.resolution).image, contract.channels)
        images.append(decode.resize_crop(drawn, contract))
    return choose(path, np.stack(images), threads=threads, note=note)
