"""Networks that architecture search finds for a `fit`: its rungs up to the proxy trainings."""

from __future__ import annotations

from pathlib import Path

from mobilenets.costs import Budget
from mobilenets.data.folder import Folder
from mobilenets.fitting.state import State
from mobilenets.latency import LatencyTable
from mobilenets.model import MobileNet, load
from mobilenets.search.timing import Clock, Costs
from mobilenets.searching.job import PROXY_UNTIL, Job
from mobilenets.searching.state import NAME, Asked
from mobilenets.searching.state import State as SearchState
from mobilenets.training import Watcher


def architectures(
    run: Path, state: State, budget: Budget, folder: Folder, table: LatencyTable, clock: Clock, seconds: float,
    watcher: Watcher,
) -> list[MobileNet]:  # fmt: skip
    """Searched networks after their proxy trainings, best first; an interrupted search goes on.

    Args:
        run: folder of its own.
        state: of the fit.
        budget: that all must meet.
        folder: the images, split.
        table: of the device.
        clock: how networks are timed there.
        seconds: for all of it.
        watcher: told about progress.

    Raises:
        BudgetUnmetError: nothing in the search space fits.
    """
    run.mkdir(exist_ok=True)
    asked = Asked(
        state.data, tuple(state.budgets), 0.0, state.task, (), state.device, state.precision, state.threads,
        seed=state.seed,
    )  # fmt: skip
    known = SearchState.read(run, asked) if (run / NAME).is_file() else SearchState(run / NAME, asked)
    job = Job(run, known, folder, Costs(budget, state.precision, table, known.factor), clock, watcher)
    job.limit_to(seconds / PROXY_UNTIL)
    job.prepare()
    job.learn_shared()
    job.explore()
    job.choose()
    job.proxy()
    return [load(path) for name in job.ranked() if (path := job.folder_of(name) / "proxy.safetensors").is_file()]
