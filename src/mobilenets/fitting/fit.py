"""`fit`: the promise. What is asked is checked, a run folder is made or found again, the work begins."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from mobilenets.costs import parse_budget
from mobilenets.data.cache import native_size
from mobilenets.data.folder import open_folder
from mobilenets.doctor import glance
from mobilenets.errors import MisuseError, MobileNetsError
from mobilenets.exports.verify import allowed_drop
from mobilenets.files import check_same, run_folder
from mobilenets.fitting.candidates import grid, within_counts, within_sight
from mobilenets.fitting.job import Job
from mobilenets.fitting.relaxed import relaxed, relaxing
from mobilenets.fitting.reporting import write_report
from mobilenets.fitting.state import Effort, State
from mobilenets.latency import device as device_named
from mobilenets.metrics import Task
from mobilenets.model import MobileNet, load
from mobilenets.precision import Precision
from mobilenets.search import need_optuna
from mobilenets.training import Watcher, run_files
from mobilenets.weights import check_source
from mobilenets.zoo.grid import RESOLUTIONS


@dataclass(frozen=True, slots=True)
class Fit:
    """What `fit` gives back.

    Attributes:
        model: the winner, trained.
        artifact: the exported file.
        report: what `report.json` holds.
        folder: the run folder.
    """

    model: MobileNet
    artifact: Path
    report: dict[str, Any]
    folder: Path


def fit(
    data: str | Path,
    budget: str | Sequence[str],
    *,
    minutes: float = 10.0,
    out: str | Path | None = None,
    task: Task | None = None,
    effort: Effort = "low",
    device: str = "local",
    precision: Precision = "fp32",
    max_drop: float | None = None,
    threads: int = 1,
    seed: int = 0,
    weights: str | Path = "auto",
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Fit:
    """The most accurate MobileNet for these images that meets the budget.

    The budget holds for the file that is shipped: boxes and masks are made inside it.

    Args:
        data: labelled images, images with boxes, or images with masks: see `open_folder`.
        budget: such as "5ms", "2MB", "50MMACs", "1.5Mparams", "900KB-ram"; several hold together.
        minutes: wall-clock time for all of it.
        out: run folder; None takes the next free runs/fitN.
        task: `detect` or `segment`, where the data have both boxes and masks; else it is found from the data.
        effort: `low` picks from the papers' networks; `medium` may take one that is too large by a quarter and make
            it narrower (NetAdapt); `high` adds networks of an architecture search on these images: that wants hours.
        device: where latency is measured, and the artifact proven: `local`, `ssh:user@host`, `browser`.
        precision: of the artifact; int8 is held to `max_drop`, and the file stays in float where nothing holds it.
        max_drop: what int8 may cost, as part of the metric: 0.01, one point, unless given; 0.02 of AP and mIoU.
        threads: threads of the artifact's runtime.
        seed: of split, search and training.
        weights: what networks start from: a file, `hf://owner/repo`, `imagenet`, `auto` or `none`. Those that it has
            nothing for start from random weights.
        resume: go on with the interrupted run in `out`.
        overwrite: write into a folder that exists.
        watcher: told about progress.

    Raises:
        BudgetFormatError: a budget that cannot be read.
        BudgetUnmetError: nothing fits; the message says the smallest budget that would.
        DataError: images or labels that cannot be used.
        VerificationError: the exported file disagrees with the trained model.
    """
    watcher = watcher or Watcher()
    limits = parse_budget(budget)
    device_named(device)  # a misspelt one is refused before anything is written
    _check(minutes, threads, seed, precision, max_drop, effort)
    check_source(weights)
    folder = open_folder(data, seed=seed, task=task)  # bad data and bad budgets are refused before anything is written
    native_px = native_size(folder.splits["train"], max(RESOLUTIONS[folder.task]))
    known = grid(len(folder.classes), precision=precision, task=folder.task)
    with relaxing(effort):
        counted = within_counts(within_sight(known, native_px), relaxed(limits, effort))
    max_drop = allowed_drop(folder.task) if max_drop is None else max_drop
    given = [budget] if isinstance(budget, str) else list(budget)
    asked = State(
        Path("fit.json"), str(Path(data).resolve()), given, minutes, threads, seed, str(weights),
        device, precision, max_drop, task, effort,
    )  # fmt: skip
    if resume:
        state = _resumed(out, asked)
        run = state.path.parent
        if (run / "report.json").is_file():
            watcher.note(f"{run} is finished already.")
            report = json.loads((run / "report.json").read_text(encoding="utf-8"))
            return Fit(load(run / "model.safetensors"), Path(report["winner"]["artifact"]), report, run)
    else:
        run = run_folder(out, "fit", overwrite=overwrite)
        state = replace(asked, path=run / "fit.json")
        _clear(run)
        state.write()
    watcher.started(run)
    job = Job(run, state, limits, open_folder(data, seed=seed, split_file=run / "split.json", task=task), watcher)
    for remark in glance(job.folder) if not resume else ():
        watcher.note(remark)
    try:
        outcome = job.work(counted)
        watcher.phase("scoring the artifact")
        arguments = (run, state, limits, job.folder, outcome, watcher, job.keep_time)
        return Fit(outcome.model, outcome.artifact, write_report(*arguments), run)
    except KeyboardInterrupt:
        line = shlex.join(["mobilenets", *asked.arguments(), "--out", str(run), "--resume"])
        watcher.note(f"interrupted: go on with {line}")
        raise
    except MobileNetsError:
        if not state.chosen:  # nothing that could be gone on with: the same --out must be free for the next try
            _clear(run)
            with contextlib.suppress(OSError):
                run.rmdir()
        raise
    finally:
        if state.path.is_file():
            with contextlib.suppress(OSError):
                job.keep_time()


def _check(
    minutes: float, threads: int, seed: int, precision: str, max_drop: float | None, effort: str
) -> None:  # fmt: skip
    if effort not in (levels := get_args(Effort)):
        raise MisuseError(f"`effort` (={effort!r}) must be one of {', '.join(levels)}.")
    if effort == "high":
        need_optuna()
    if precision not in (known := get_args(Precision)):
        raise MisuseError(f"`precision` (={precision!r}) must be one of {', '.join(known)}.")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise MisuseError(f"`max_drop` (={max_drop}) must be a part of the metric, from 0 to 1: 0.01 is one point.")
    if not 0 < minutes < math.inf:
        raise MisuseError(f"`minutes` (={minutes}) must be a number above 0.")
    if threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    if seed < 0:
        raise MisuseError(f"`seed` (={seed}) must not be negative.")


def _resumed(out: str | Path | None, asked: State) -> State:
    """The state of an interrupted run, which must be what is asked for now; only the minutes may change."""
    if out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    state = State.read(Path(out) / "fit.json")
    names = ("data", "task", "effort", "device", "precision", "max_drop", "threads", "seed", "weights")
    before, now = ({name: getattr(each, name) for name in names} for each in (state, asked))
    budgets = [{"budget": parse_budget(each.budgets).text} for each in (state, asked)]
    check_same(out, before | budgets[0], now | budgets[1])
    state.minutes = asked.minutes
    return state


def _clear(run: Path) -> None:
    """Remove what an earlier run left under the names that this one writes."""
    names = [
        "fit.json", "split.json", "report.json", "report.png", "report.html", "model.onnx", "model.int8.onnx",
        "model.safetensors",
    ]  # fmt: skip
    below = {"search": "*.safetensors", "mistakes": "*.jpg", "drawn": "*", "quantize": "*"}
    inside = [path for name, pattern in below.items() for path in (run / name).glob(pattern)]
    for path in [*(run / name for name in names), *inside, *run_files(run / "train")]:
        path.unlink(missing_ok=True)
    for name in ("adapted", "architectures"):
        shutil.rmtree(run / name, ignore_errors=True)
    for name in (*below, "train"):
        with contextlib.suppress(OSError):
            (run / name).rmdir()
