"""The search space of a data set, a device and a budget: which resolutions and widths, and how large at most."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from mobilenets.data.cache import native_size
from mobilenets.data.folder import Folder
from mobilenets.doctor.rules import ENLARGE
from mobilenets.errors import BudgetUnmetError
from mobilenets.latency import Latency
from mobilenets.search import Point
from mobilenets.search.space import Space
from mobilenets.search.timing import Costs
from mobilenets.searching.state import State
from mobilenets.table.rows import BoxPredictor, Network
from mobilenets.training import Watcher
from mobilenets.training.start import anchored

SHARED_LOAD = 1.5
"""Load of the largest network that shares weights: what is far larger than the budget learns for nobody."""
WANTED_LOAD = 1.25
"""Load up to which networks are drawn in the training of shared weights, and evaluated in the study."""
BASES = (1.0, 0.75, 0.5, 0.35, 0.25)
"""Factors of the space's widths that are tried, the largest first, until half of the space is near the budget."""
LEAST_BASE = 0.5
"""Below that a smaller resolution is taken, where the user named none."""
NEAR = 1.25
DRAWS = 200
"""Networks that are drawn to see how much a space takes."""
RESOLUTIONS = 3
"""Most resolutions of one search, the largest that the images show something new at: all share weights."""
CHECKED = 24
"""Networks of the space that are measured to correct the latency table for it, before it is narrowed and after."""

Timed = Callable[[Sequence[Network]], list[Latency]]


def load_in(space: Space, costs: Costs) -> Callable[[Point], float]:
    """Cost over budget of a space's points, by prediction."""
    return lambda point: costs.load(space.network(point, named=False))


def space_for(folder: Folder, state: State, costs: Costs, timed: Timed, watcher: Watcher) -> Space:
    """The space that the state knows, or a new one, which is written into it.

    Args:
        folder: the images.
        state: of the search.
        costs: of networks; the table's error on the space's is corrected from now on.
        timed: networks to their latencies on the device.
        watcher: told about progress.

    Raises:
        BudgetUnmetError: nothing in the space fits.
    """
    task = "classify" if folder.task == "multi-label" else folder.task
    classes = len(folder.classes)
    if state.choices:
        return state.space(task, classes)
    asked = state.asked.resolutions
    space = begun(task, classes, [asked] if asked else _resolutions(folder, task), costs)
    if task == "detect":
        row = anchored(space.network(space.largest()), folder).rows[-1]
        assert isinstance(row, BoxPredictor)
        space = replace(space, anchors=(row.anchors, row.smallest, row.largest))
    _check_smallest(space, costs)
    _correct(space, state, costs, timed, watcher)
    space = _based(space, costs)  # by what was measured, too
    _check_smallest(space, costs)
    space = space.narrowed(load_in(space, costs), SHARED_LOAD)
    # what is left is of another kind than the whole: narrower where it is deep, and tables err by kind
    measured = _correct(space, state, costs, timed, watcher)
    _check_smallest(space, costs)
    space = space.narrowed(load_in(space, costs), SHARED_LOAD)
    if measured:
        watcher.note(
            f"the latency table is {state.error:.1%} off on {measured} networks of the space (median), after a "
            f"correction by {state.factor:.2f}"
        )
    state.base, state.anchors = space.base, space.anchors
    state.choices = {name: list(values) for name, values in space.choices.items()}
    watcher.note(
        f"search space: {space.size:.1e} networks, widths {space.base:g} of MobileNetV3-Large's, "
        f"{', '.join(map(str, space.choices['resolution']))} px; the largest takes "
        f"{load_in(space, costs)(space.largest()):.1f} times the budget"
    )
    return space


def _check_smallest(space: Space, costs: Costs) -> None:
    if (least := load_in(space, costs)(space.smallest())) > 1:
        raise BudgetUnmetError(
            f"nothing fits {costs.budget.text}: the smallest network of the search space takes {least:.2f} "
            "times that. Raise the budget, or give a smaller --resolution."
        )


def _resolutions(folder: Folder, task: str) -> list[tuple[int, ...]]:
    """Resolutions that may share weights, the largest at which the images show something new first."""
    known = [int(value) for value in Space.of(task, len(folder.classes)).choices["resolution"]]
    native_px = native_size(folder.splits["train"], max(known))
    seen = [size for size in known if size <= ENLARGE * native_px] or known[:1]
    ends = range(len(seen), min(RESOLUTIONS, len(seen)) - 1, -1)
    return [tuple(seen[max(0, end - RESOLUTIONS) : end]) for end in ends]


def begun(task: str, classes: int, resolutions: Sequence[tuple[int, ...]], costs: Costs) -> Space:
    """The space at the first of some resolutions at which the budget leaves widths to choose among; else at the last.

    Under a tight budget a network of a quarter of the channels at 224 px learns less than a wider one at 96.
    """
    for sizes in resolutions:
        space = _based(Space.of(task, classes, resolutions=sizes), costs)
        if space.base >= LEAST_BASE:
            break
    return space


def _based(space: Space, costs: Costs) -> Space:
    """The widest space of which half is near the budget."""
    for base in BASES:
        space, rng = replace(space, base=base), Random(0)
        load = load_in(space, costs)
        if statistics.median(load(space.draw(rng)) for _ in range(DRAWS)) <= NEAR:
            break
    return space


def _correct(space: Space, state: State, costs: Costs, timed: Timed, watcher: Watcher) -> int:
    """Measure some networks that would be looked at: the table was not built from their like. How many they were."""
    if costs.table is None:
        return 0
    rng, near, load = Random(1), list[Network](), load_in(space, costs)
    for _ in range(100 * CHECKED):
        point = space.draw(rng)
        if 0.5 <= load(point) <= WANTED_LOAD:
            near.append(space.network(point))
        if len(near) == CHECKED:
            break
    if not near:
        return 0
    watcher.phase("measuring networks of the space", len(near))
    found = timed(near)
    ratios = [found[i].median_ms / costs.table.predict_ms(network) for i, network in enumerate(near)]
    state.factor = costs.latency_factor = statistics.median(ratios)
    state.error = statistics.median(abs(state.factor / ratio - 1) for ratio in ratios)
    return len(near)
