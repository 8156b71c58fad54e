"""`adapt`: what is asked is checked and found possible, a run folder is made or found again, the work begins."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from mobilenets.adapting.job import AIM, Job
from mobilenets.adapting.outcome import Outcome
from mobilenets.adapting.reporting import already_met, write_report
from mobilenets.adapting.state import DELTA, NAME, State
from mobilenets.costs import Budget, parse_budget
from mobilenets.data.folder import Folder, relabelled
from mobilenets.errors import BudgetUnmetError, MisuseError
from mobilenets.exports.shipping import ending_of
from mobilenets.exports.whole import size_bytes
from mobilenets.files import check_new, check_same, run_folder
from mobilenets.latency import Latency, LatencyTable, table_for
from mobilenets.latency import device as device_named
from mobilenets.model import MobileNet, load, save
from mobilenets.precision import Precision
from mobilenets.search import Rule, dimensions, learned_divisor, narrowest
from mobilenets.search.timing import Clock, Costs, within
from mobilenets.table import Network
from mobilenets.training import Watcher, run_files
from mobilenets.training.run import open_data

RESTLESS = 0.1
"""Spread of a timing's rounds from which a step's cut, a percent or a few, drowns in it."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What `adapt` gives back.

    Attributes:
        model: the narrower network, fine-tuned; the start where that is within the budget already.
        artifact: its file; None where nothing had to be done.
        report: what `report.json` holds.
        folder: the run folder; None where nothing had to be done.
    """

    model: MobileNet
    artifact: Path | None
    report: dict[str, Any]
    folder: Path | None


def adapt(
    model: MobileNet | str | Path,
    data: str | Path,
    budget: str | Sequence[str],
    *,
    minutes: float = 60.0,
    delta: float = DELTA,
    rule: Rule = "ratio",
    out: str | Path | None = None,
    device: str = "local",
    precision: Precision = "fp32",
    threads: int = 1,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Adapted:
    """NetAdapt: make a trained network narrower, step by step, until it meets the budget on a device.

    Each step proposes for every expansion and every bottleneck the largest network that is faster by `delta`, by the
    latency table; each inherits the strongest channels and is fine-tuned briefly; the best is kept and measured. At
    the end comes a long fine-tuning with the start as teacher. Every step is a usable network, written as it happens.
    Paper: arXiv 1804.03230; MobileNetV3's way, arXiv 1905.02244, section 4.2.

    Args:
        model: a trained model or its checkpoint, of any task.
        data: labelled images, boxes or masks of the model's classes: see `open_folder`.
        budget: such as "4ms", "2MB", "50MMACs", "1.5Mparams", "900KB-ram"; several hold together.
        minutes: wall-clock time for all of it; 60 % go to the steps, the rest to the long fine-tuning.
        delta: what a step takes off, as part of the start's cost; more where the minutes allow fewer steps.
        rule: `ratio` keeps the best accuracy change for its latency change (V3's), `accuracy` the highest accuracy.
        out: run folder; None takes the next free runs/adaptN.
        device: where latency is measured: `local`, `ssh:user@host`, `browser`.
        precision: of the artifact; int8 is held by the ladder of `quantize`.
        threads: threads of the artifact's runtime.
        seed: of everything that is drawn.
        resume: go on with the interrupted run in `out`.
        overwrite: write into a folder that exists.
        watcher: told about progress.

    Raises:
        BudgetFormatError: a budget that cannot be read.
        BudgetUnmetError: no narrower network meets it, and the message says what can be reached; or the file was over
            it when it was timed at the end, after everything was written.
        DataError: images or labels that cannot be used, or are not the model's classes.
        MisuseError: channels that cannot be chosen one by one, or wrong arguments.
        VerificationError: the exported file disagrees with the model.
    """
    begun, watcher = time.perf_counter(), watcher or Watcher()
    limits = parse_budget(budget)
    where = device_named(device)
    _check(minutes, delta, rule, precision, threads, seed)
    start = model if isinstance(model, MobileNet) else load(model)
    dimensions(start.network)
    _opened(data, start, seed, None)  # bad data is refused before anything is measured or written
    asked = State(
        Path(NAME), "" if isinstance(model, MobileNet) else str(Path(model).resolve()), str(Path(data).resolve()),
        [budget] if isinstance(budget, str) else list(budget), minutes, delta, rule, device, precision, threads, seed,
    )  # fmt: skip
    resumed = _resumed(out, asked, watcher) if resume else None
    if resumed is None:
        check_new(out, overwrite=overwrite)
    clock = Clock(where, threads, "int8" if precision == "int8" else "fp32", ending_of(start.info.task))
    costs = Costs(limits, precision, None, aim=AIM)
    if limits.latency_ms is not None:
        watcher.phase("latency table of this device")
        costs.table = table_for(
            where, task=start.info.task, threads=threads, precision=clock.precision, ending=clock.ending, quick=True,
            on_progress=watcher.advance,
        )  # fmt: skip
    if resumed is not None:
        state, run = resumed
        if (report := _finished(run)) is not None:
            watcher.note(f"{run} is finished already.")
            return Adapted(load(run / "model.safetensors"), Path(report["result"]["artifact"]), report, run)
    else:
        first = _measured(asked, start, costs, clock, watcher)
        if isinstance(first, dict):
            return Adapted(start, None, first, None)
        run = run_folder(out, "adapt", overwrite=overwrite)
        _clear(run)
        state = _begun(run, first, start)
    watcher.started(run)
    try:
        start = load(run / "steps" / "00.safetensors")  # a model that was given as an object stays as it is
        folder = _opened(data, start, seed, run / "split.json")
        with _job(run, state, start, folder, costs, clock, watcher, begun) as job:
            outcome = job.work()
            report = write_report(run, state, limits, start, job, outcome, watcher)
    except KeyboardInterrupt:
        line = shlex.join(["mobilenets", *state.arguments(), "--out", str(run), "--resume"])
        watcher.note(f"interrupted: {run / 'steps'} has every step so far; go on with {line}")
        raise
    if not outcome.met:
        raise BudgetUnmetError(_over(run, state, limits, outcome))
    return Adapted(outcome.model, outcome.artifact, report, run)


def narrowed(
    start: MobileNet, folder: Folder, asked: State, clock: Clock, table: LatencyTable, watcher: Watcher
) -> MobileNet:
    """What `adapt` does, up to its file: for those that make and judge the file themselves.

    Args:
        start: a trained model; the one of an interrupted run is found in its folder.
        folder: the images, split, of the model's classes.
        asked: as for a new run in its folder; the minutes are those from now on.
        clock: how networks are timed.
        table: of the device.
        watcher: told about progress.

    Returns:
        The narrower network, fine-tuned; the start itself where that is within the budget already.

    Raises:
        BudgetUnmetError: no narrower network meets it.
    """
    begun, run = time.perf_counter(), asked.path.parent
    limits = parse_budget(asked.budgets)
    costs = Costs(limits, asked.precision, None if limits.latency_ms is None else table, aim=AIM)
    if asked.path.is_file():
        state = State.read(run)
        state.last(asked.minutes + state.spent_s / 60, watcher)
    else:
        first = _measured(asked, start, costs, clock, watcher)
        if isinstance(first, dict):
            return start
        state = _begun(run, first, start)
    start = load(run / "steps" / "00.safetensors")
    with _job(run, state, start, folder, costs, clock, watcher, begun, ships=False) as job:
        return job.narrowed()


def _measured(asked: State, start: MobileNet, costs: Costs, clock: Clock, watcher: Watcher) -> State | dict[str, Any]:
    """The state to begin with, the start timed and the budget found possible; a report where it is met already."""
    watcher.phase("timing the start")
    limits = costs.budget
    latency, file_bytes = clock.time(start.network)
    costs.learn(start.network, latency.median_ms, file_bytes)
    real, load_ = costs.measured(start.network, latency.median_ms, file_bytes)
    if load_ <= 1.0:
        watcher.note(
            f"{start.network.label} meets {limits.text} already: {latency.median_ms:.2f} ms, "
            f"{real.file_bytes / 1e6:.2f} MB. Nothing is made narrower."
        )
        return already_met(start, limits, latency, real.file_bytes)
    ways, divisor = dimensions(start.network), start.network.divisor
    if costs.table is not None:
        if told := restless(latency):
            watcher.note(told)
        watcher.phase("which widths the device runs fast")
        divisor = clock.divisor(start.network, ways, learned_divisor(costs.table))
    _reachable(costs, start.network, divisor)
    watcher.note(
        f"{start.network.label} takes {latency.median_ms:.2f} ms, {load_:.2f} of the budget; {len(ways)} widths can "
        f"give, in steps of {divisor} channels"
    )
    return replace(asked, start_ms=latency.median_ms, divisor=divisor)


def restless(latency: Latency) -> str:
    """What to say of a device on which a step's cut can hardly be told from a disturbance; nothing of a quiet one."""
    if latency.spread <= RESTLESS:
        return ""
    return (
        f"the rounds of this timing differ by {latency.spread:.0%}, more than a step takes off: what is measured says "
        "little. Close other programs, or take larger steps (--delta 0.05)."
    )


def _begun(run: Path, first: State, start: MobileNet) -> State:
    """The state of a new run, written; the start is there before it, for that is what a resumed run begins with."""
    save(start, run / "steps" / "00.safetensors")
    state = replace(first, path=run / NAME)
    state.write()
    return state


@contextlib.contextmanager
def _job(
    run: Path, state: State, start: MobileNet, folder: Folder, costs: Costs, clock: Clock, watcher: Watcher,
    begun: float, ships: bool = True,
) -> Iterator[Job]:  # fmt: skip
    """A sitting whose time is kept however it ends."""
    job = Job(run, state, start, folder, costs, clock, watcher, begun, ships)
    try:
        yield job
    finally:
        with contextlib.suppress(OSError):
            job.keep_time()


def _finished(run: Path) -> dict[str, Any] | None:
    """The report of a run that met its budget; one that did not is timed again."""
    if not (run / "report.json").is_file():
        return None
    report: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return report if report["met"] else None


def _over(run: Path, state: State, limits: Budget, outcome: Outcome) -> str:
    """What to do about a file that is over the budget after all."""
    further = shlex.join(["mobilenets", *replace(state, model=str(run / "model.safetensors")).arguments()])
    slow = not within(replace(limits, file_bytes=None), outcome.latency, 0)
    asked = "Was another program running? --resume times it again. " if slow else ""
    return (
        f"{outcome.artifact} takes {outcome.latency.median_ms:.2f} ms and {size_bytes(outcome.artifact) / 1e6:.2f} MB, "
        f"over {limits.text}; {run / 'report.json'} has the rest. {asked}To make it narrower still: {further}"
    )


def _opened(data: str | Path, start: MobileNet, seed: int, split_file: Path | None) -> Folder:
    """The data set with the labels of the model's classes."""
    folder = open_data(data, start.network, seed=seed, split_file=split_file)
    if folder.task != start.info.task:
        raise MisuseError(
            f"{data} is labelled for the task {folder.task}, and {start.network.label} was trained for "
            f"{start.info.task}: give data of the model's task."
        )
    return relabelled(folder, start.info.classes)


def _check(minutes: float, delta: float, rule: str, precision: str, threads: int, seed: int) -> None:
    for name, value, known in (("rule", rule, get_args(Rule)), ("precision", precision, get_args(Precision))):
        if value not in known:
            raise MisuseError(f"`{name}` (={value!r}) must be one of {', '.join(known)}.")
    if not 0 < minutes < math.inf:
        raise MisuseError(f"`minutes` (={minutes}) must be a number above 0.")
    if not 0 < delta < 1:
        raise MisuseError(f"`delta` (={delta}) must be a part of the start's cost, above 0 and below 1, such as 0.01.")
    if threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    if seed < 0:
        raise MisuseError(f"`seed` (={seed}) must not be negative.")


def _reachable(costs: Costs, network: Network, divisor: int) -> Network:
    """The narrowest table.

    Raises:
        BudgetUnmetError: it is over the budget by prediction; the message says what could be reached.
    """
    found = narrowest(network, divisor)
    if (load_ := costs.load(found)) <= 1.0:
        return found
    budget = costs.budget
    raised = budget.times(load_)
    raise BudgetUnmetError(
        f"{network.label} cannot reach {budget.text} by narrower layers: with every width at its smallest it takes "
        f"{load_:.2f} times that. Ask for {raised.text} or more, begin with a smaller resolution or another network, "
        "or let `mobilenets fit` choose."
    )


def _resumed(out: str | Path | None, asked: State, watcher: Watcher) -> tuple[State, Path]:
    """The state of an interrupted run, which must be what is asked for now; only the minutes may change.

    The network is in the run folder: where it was given as an object, then or now, no path can tell it.
    """
    if out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    run = Path(out)
    state = State.read(run)
    told = ("model",) if state.model and asked.model else ()
    names = (*told, "data", "delta", "rule", "device", "precision", "threads", "seed")
    before, now = ({name: getattr(each, name) for name in names} for each in (state, asked))
    budgets = [{"budget": parse_budget(each.budgets).text} for each in (state, asked)]
    check_same(run, before | budgets[0], now | budgets[1])
    state.last(asked.minutes, watcher)
    return state, run


def _clear(run: Path) -> None:
    """Remove what an earlier run left under the names that this one writes."""
    names = [
        NAME, "split.json", "report.json", "trajectory.png", "model.onnx", "model.safetensors", "float.safetensors",
        "table.json",
    ]  # fmt: skip
    inside = [*(run / "steps").glob("[0-9]*.*"), *(run / "quantize").glob("*.*")]
    for path in [*(run / name for name in names), *inside, *run_files(run / "train")]:
        path.unlink(missing_ok=True)
    for name in ("steps", "train", "quantize"):
        with contextlib.suppress(OSError):
            (run / name).rmdir()
