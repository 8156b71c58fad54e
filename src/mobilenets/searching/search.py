"""`search`: what is asked is checked, a run folder is made or found again, the work begins."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from mobilenets.costs import Budget, parse_budget
from mobilenets.data.folder import Folder, open_folder
from mobilenets.doctor import glance
from mobilenets.errors import BudgetUnmetError, MisuseError, MobileNetsError
from mobilenets.exports.shipping import ending_of
from mobilenets.files import run_folder, write_text
from mobilenets.latency import LatencyTable, table_for
from mobilenets.latency import device as device_named
from mobilenets.metrics import Task
from mobilenets.model import MobileNet, load
from mobilenets.precision import Precision
from mobilenets.search import Objective, Searcher, begun, need_optuna, read_study
from mobilenets.search.reward import MNASNET
from mobilenets.search.timing import Clock, Costs
from mobilenets.searching.job import TABLE, Job
from mobilenets.searching.reporting import write_report
from mobilenets.searching.state import NAME, Asked, State
from mobilenets.searching.terms import Terms, read_terms
from mobilenets.training import Watcher
from mobilenets.weights import check_source


@dataclass(frozen=True, slots=True)
class Search:
    """What `search` gives back.

    Attributes:
        model: the most accurate network within the budget, trained; None of a worker, which only fills the study.
        artifact: its exported file.
        report: what `report.json` holds.
        folder: the run folder.
    """

    model: MobileNet | None
    artifact: Path | None
    report: dict[str, Any]
    folder: Path


def search(
    data: str | Path,
    budget: str | Sequence[str],
    *,
    hours: float = 2.0,
    out: str | Path | None = None,
    task: Task | None = None,
    resolutions: Sequence[int] = (),
    device: str = "local",
    precision: Precision = "fp32",
    threads: int = 1,
    searcher: Searcher = "evolution",
    objective: Objective = "hard",
    exponent: float = MNASNET,
    keep: int = 1,
    study: str = "",
    trials: int = 0,
    shared: str | Path | None = None,
    worker: bool = False,
    weights: str | Path = "none",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Search:
    """Architecture search on the user's images, for the user's device and budget.

    Weights that all networks of the space share are trained first (once-for-all, arXiv 1908.09791); by them many
    networks are scored, proposed by `searcher` (MnasNet's reward, arXiv 1807.11626; MobileNetV3, arXiv 1905.02244);
    the best are measured, trained a few minutes, and those that are kept are trained to the end, exported and proven.

    Args:
        data: labelled images, images with boxes, or images with masks: see `open_folder`.
        budget: such as "5ms", "2MB", "50MMACs", "1.5Mparams", "900KB-ram"; several hold together.
        hours: wall-clock time for all of it.
        out: run folder; None takes the next free runs/searchN.
        task: `detect` or `segment`, where the data have both boxes and masks; else it is found from the data.
        resolutions: of the input image in pixels; none takes up to three, the largest at which the images show
            something new and the budget leaves widths to choose among.
        device: where latency is measured: `local`, `ssh:user@host`, `browser`.
        precision: of the artifacts.
        threads: threads of the artifacts' runtime.
        searcher: `evolution` (regularized, arXiv 1802.01548), `tpe`, `nsga2`, `random`.
        objective: `hard` (the accuracy of what meets the budget), `reward` (ACC x load^exponent: what is faster gets a
            little more) or `front` (accuracy and cost, neither before the other).
        exponent: of the reward: -0.07 (MnasNet), -0.15 (V3-Small).
        keep: networks that are trained to the end.
        study: where workers share one study: a file on a common disk, or postgresql://USER:PASSWORD@HOST/DATABASE.
        trials: that the study shall have, over all workers; 0 for as many as there is time for.
        shared: shared weights of another run of the same search, its `shared.safetensors`: they are not trained any
            more, and space and prices are that run's. Who joins a study needs those it was begun with.
        worker: only score networks for the study by `shared`; a run of the same command without it ends the search.
        weights: what the shared weights begin with: a trained checkpoint of bottlenecks or separable blocks, or for
            MobileNetV2 a published file, `hf://owner/repo`, `imagenet`, `auto`; `none` for random ones.
        seed: of everything.
        resume: go on with the interrupted run in `out`.
        overwrite: write into a folder that exists.
        watcher: told about progress.

    Raises:
        BudgetFormatError: a budget that cannot be read.
        BudgetUnmetError: nothing in the space fits, or no exported file does; then the report is written.
        DataError: images or labels that cannot be used.
        MisuseError: wrong arguments, a study that was begun otherwise, or shared weights of another search.
        StudyError: the study's database does not answer.
        VerificationError: an exported file disagrees with its model.
    """
    sat_down, watcher = time.perf_counter(), watcher or Watcher()
    limits, where = parse_budget(budget), device_named(device)
    budgets = (budget,) if isinstance(budget, str) else tuple(budget)
    asked = Asked(
        str(Path(data).resolve()), budgets, hours, task, tuple(sorted(set(resolutions))), device, precision, threads,
        searcher, objective, exponent, keep, str(study), trials, seed,
        str(weights),
    )  # fmt: skip
    _check(asked, worker, shared, out, resume=resume)
    folder = open_folder(data, seed=seed, task=task)  # bad data is refused before anything is measured or written
    terms = None if shared is None or resume else _terms(shared, folder, limits, precision)
    _check_study(asked, terms, resume=resume)
    clock = Clock(where, threads, "int8" if precision == "int8" else "fp32", ending_of(folder.task))
    if resume:
        run, state = _resumed(out, asked)
        if (run / "report.json").is_file():
            watcher.note(f"{run} is finished already.")
            return _finished(run)
    else:
        run = run_folder(out, "search", overwrite=overwrite)
        state = _begun(run, asked, shared, terms)
    watcher.started(run)
    job, prepared = None, False
    try:
        costs = Costs(limits, precision, None, state.factor)
        if limits.latency_ms is not None:
            costs.table = _table(run, clock, folder.task, watcher)
        folder = open_folder(data, seed=seed, split_file=run / "split.json", task=task)
        for remark in glance(folder) if not resume else ():
            watcher.note(remark)
        job = Job(run, state, folder, costs, clock, watcher, sat_down)
        job.prepare()
        prepared = True
        if worker:
            job.learn_shared()
            job.explore(until=1.0)
            return Search(None, None, {"verb": "search", "worker": True, "trials": len(job.study.trials())}, run)
        found = job.work()
        return _result(run, write_report(job, found))
    except KeyboardInterrupt:
        more = ["--worker"] if worker else []
        line = shlex.join(["mobilenets", *asked.arguments(), *more, "--out", str(run), "--resume"])
        watcher.note(f"interrupted: go on with {line}")
        raise
    except MobileNetsError:
        if not prepared and not resume:  # nothing to go on with: the same --out must be free for the next try
            job = None
            _clear(run)
            with contextlib.suppress(OSError):
                run.rmdir()
        raise
    finally:
        if job is not None:
            with contextlib.suppress(OSError):
                job.keep_time()


def _terms(shared: str | Path, folder: Folder, limits: Budget, precision: Precision) -> Terms:
    """Of shared weights that are given, which must be of this search."""
    terms = read_terms(shared)
    if terms is None:
        raise MisuseError(f"the training of {shared} is not over: let the run that it is of go on first, by --resume.")
    terms.check(shared, folder, limits.text, precision)
    return terms


def _check_study(asked: Asked, terms: Terms | None, *, resume: bool) -> None:
    """That the study can be joined, before the hour in which shared weights are trained."""
    need_optuna()
    if resume or not asked.study or not begun(asked.study):
        return
    if terms is None:
        raise MisuseError(
            "the study is there already: give the shared weights that it was begun with, the shared.safetensors of its "
            "first run, as --shared; or another place for a new study."
        )
    if read_study(asked.study).plan.search != terms.search:
        raise MisuseError("the study and the shared weights are of two searches: give those of one.")


def _begun(run: Path, asked: Asked, shared: str | Path | None, terms: Terms | None) -> State:
    """The state of a run that begins; with what another decided, where its shared weights are given."""
    _clear(run)
    state = State(run / NAME, asked)
    if shared is not None and terms is not None:
        shutil.copyfile(shared, run / "shared.safetensors")
        if terms.table is not None:
            write_text(run / TABLE, terms.table)
        state.adopt(terms)
    state.write()
    return state


def _table(run: Path, clock: Clock, task: Task, watcher: Watcher) -> LatencyTable:
    """The latency table of the search, which all its workers share."""
    if not (run / TABLE).is_file():
        watcher.phase("latency table of this device")
        table_for(
            clock.device, task=task, threads=clock.threads, precision=clock.precision, ending=clock.ending,
            on_progress=watcher.advance,
        ).write(run / TABLE)  # fmt: skip
    return LatencyTable.read(run / TABLE)


def _check(asked: Asked, worker: bool, shared: str | Path | None, out: str | Path | None, *, resume: bool) -> None:
    pairs = (("precision", Precision), ("searcher", Searcher), ("objective", Objective))
    for name, known in pairs:
        if (value := getattr(asked, name)) not in get_args(known):
            raise MisuseError(f"`{name}` (={value!r}) must be one of {', '.join(get_args(known))}.")
    if not 0 < asked.hours < math.inf:
        raise MisuseError(f"`hours` (={asked.hours}) must be a number above 0.")
    if not -math.inf < asked.exponent < 0:
        raise MisuseError(
            f"`exponent` (={asked.exponent}) must be a number below 0, such as -0.07: what is slower gets less."
        )
    for name, least in (("threads", 1), ("keep", 1), ("seed", 0), ("trials", 0)):
        if (value := getattr(asked, name)) < least:
            raise MisuseError(f"`{name}` (={value}) must be at least {least}.")
    if wrong := [size for size in asked.resolutions if size < 32 or size % 32]:
        raise MisuseError(f"`resolutions` (={wrong[0]}) must be a multiple of 32: the networks' total stride is 32.")
    check_source(asked.weights)
    if asked.searcher == "nsga2" and asked.objective != "front":
        raise MisuseError("`searcher` nsga2 looks for a front: give it the objective front.")
    if worker and not asked.study:
        raise MisuseError("a worker needs the study that it works for: give --study.")
    if worker and shared is None and not resume:
        raise MisuseError(
            "a worker needs --shared, the weights that all workers score by: train once, by the same command without "
            "--worker, then copy that run's shared.safetensors."
        )
    if shared is None or resume:
        return
    if not Path(shared).is_file():
        raise MisuseError(f"no such file: {shared}. It is the shared.safetensors of a run of the same search.")
    if out is not None and Path(shared).resolve().is_relative_to(Path(out).resolve()):
        raise MisuseError(f"{shared} lies in the run folder that is written anew: copy it, or give another --out.")


def _resumed(out: str | Path | None, asked: Asked) -> tuple[Path, State]:
    if out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    run = Path(out)
    return run, State.read(run, asked)


def _finished(run: Path) -> Search:
    return _result(run, json.loads((run / "report.json").read_text(encoding="utf-8")))


def _result(run: Path, report: dict[str, Any]) -> Search:
    best = report["result"]
    if not best["met"]:
        raise BudgetUnmetError(
            f"{best['network']} takes {best['latency_ms']:.2f} ms and {best['file_bytes'] / 1e6:.2f} MB once trained "
            f"and exported, over {report['budget']['text']}; it is in {run}. Was another program running? Raise the "
            "budget or search again."
        )
    return Search(load(best["checkpoint"]), Path(best["artifact"]), report, run)


def _clear(run: Path) -> None:
    """Remove what an earlier run left under the names that this one writes."""
    for name in (
        NAME,
        TABLE,
        "split.json",
        "report.json",
        "front.png",
        "study.log",
        "study.log.lock",
        "shared.safetensors",
    ):
        (run / name).unlink(missing_ok=True)
    for folder in (run / "networks").glob("searched_*"):
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        (run / "networks").rmdir()
