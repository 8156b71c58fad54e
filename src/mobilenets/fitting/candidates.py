"""What may be built: every family at every width and resolution, cut down by the budget to a Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mobilenets.costs import Budget, sizes
from mobilenets.doctor.rules import ENLARGE
from mobilenets.errors import BudgetUnmetError, MisuseError
from mobilenets.latency import Latency, LatencyTable
from mobilenets.metrics import METRICS, Task
from mobilenets.precision import Precision
from mobilenets.table import Network, scale, with_classes
from mobilenets.zoo import FAMILIES
from mobilenets.zoo.grid import RESOLUTIONS, WIDTHS, bodies
from mobilenets.zoo.published import estimate_top1
from mobilenets.zoo.published_heads import estimate_score

Status = Literal["enlarged", "over", "slow", "dominated", "front", "tried", "winner"]
GONE: tuple[Status, ...] = ("enlarged", "over", "slow")
"""Out of the question: images enlarged for nothing, over a counted budget, over the latency budget."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One network of the grid and what is known of it.

    Attributes:
        network: the table, with the data's classes.
        macs: multiply-accumulates.
        params: parameters.
        ram_bytes: peak activation bytes in the artifact's precision.
        file_bytes: expected size of the artifact.
        expected: ImageNet accuracy of the family at this width and resolution, published or interpolated, percent; AP
            on COCO of a detector, mIoU on Cityscapes of a segmenter. A prior for ranking, not a promise for other data.
        predicted_ms: latency by the table.
        measured: latency measured, where it was.
        status: how far it came.
        reason: why it came no further.
        score: best one on the validation images in the search, where it was tried.
    """

    network: Network
    macs: int
    params: int
    ram_bytes: int
    file_bytes: int
    expected: float
    predicted_ms: float = 0.0
    measured: Latency | None = None
    status: Status = "dominated"
    reason: str = ""
    score: float | None = None

    @property
    def label(self) -> str:
        """Name, width, resolution, and output stride."""
        return self.network.label

    @property
    def latency_ms(self) -> float:
        """Measured where it was, else predicted."""
        return self.measured.median_ms if self.measured is not None else self.predicted_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keys with units."""
        metric = METRICS[self.network.task]
        return {
            "network": self.network.name,
            "width": self.network.width,
            "resolution": self.network.resolution,
            "macs": self.macs,
            "params": self.params,
            "peak_activation_bytes": self.ram_bytes,
            "file_bytes": self.file_bytes,
            **({} if self.network.output_stride is None else {"output_stride": self.network.output_stride}),
            f"expected_{metric}_percent": round(self.expected, 2),
            "predicted_ms": self.predicted_ms,
            "measured_ms": self.measured.median_ms if self.measured else None,
            "measured_p90_ms": self.measured.p90_ms if self.measured else None,
            "status": self.status,
            "reason": self.reason,
            f"search_{metric}": self.score,
        }


def grid(
    classes: int, names: Sequence[str] = FAMILIES, precision: Precision = "fp32", task: Task = "classify"
) -> list[Candidate]:
    """Every family, with every head of the task, at every width and resolution; sizes are those of `precision`."""
    return [
        candidate_of(with_classes(scale(body, width, resolution), classes), precision)
        for name in names
        for body in bodies(task, name)
        for width in WIDTHS
        for resolution in RESOLUTIONS[task]
    ]


def candidate_of(network: Network, precision: Precision, expected: float | None = None) -> Candidate:
    """A network and what is counted of it; of one that nobody published, `expected` says what it may reach."""
    if expected is None and network.backbone:
        expected = estimate_score(network)
    elif expected is None:
        expected = estimate_top1(network.name, network.width, network.resolution)
    counted = sizes(network, precision)
    return Candidate(
        network,
        counted.macs,
        counted.params,
        counted.ram_bytes,
        counted.file_bytes,
        expected,
    )


def within_sight(candidates: Sequence[Candidate], native_px: int) -> list[Candidate]:
    """Mark resolutions that enlarge the images more than `ENLARGE` times: they cost, and show nothing new.

    Args:
        candidates: the grid.
        native_px: short side of the images' files, the larger ones of them.
    """
    most = max(ENLARGE * native_px, min(c.network.resolution for c in candidates))
    reason = f"the images are {native_px} px: {most} px show all there is"
    return [replace(c, status="enlarged", reason=reason) if c.network.resolution > most else c for c in candidates]


def within_counts(candidates: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """Mark what breaks a counted budget; no measurement is needed for it.

    Raises:
        BudgetUnmetError: nothing is left; the message names the smallest budget that would do.
    """
    checks: tuple[tuple[str, str, float | None, Callable[[float], str]], ...] = (
        ("macs", "macs", budget.macs, lambda v: f"{v / 1e6:.3g}MMACs"),
        ("params", "parameters", budget.params, lambda v: f"{v / 1e6:.3g}Mparams"),
        ("file_bytes", "file size", budget.file_bytes, lambda v: f"{v / 1e6:.3g}MB"),
        ("ram_bytes", "peak activation memory", budget.ram_bytes, lambda v: f"{v / 1e3:.4g}KB-ram"),
    )
    checked = list(candidates)
    for attribute, words, limit, show in checks:
        if limit is None:
            continue
        considered = [c for c in candidates if c.status not in GONE]
        least = min(getattr(c, attribute) for c in considered)
        if least > limit:
            raise BudgetUnmetError(
                f"nothing fits {show(limit)}: the smallest {words} of all {len(considered)} candidates is "
                f"{show(_up(least))}. Raise the budget to at least --budget {show(_up(least))}."
            )
        checked = [
            replace(c, status="over", reason=f"{words} {show(getattr(c, attribute))} over {show(limit)}")
            if getattr(c, attribute) > limit and c.status not in GONE
            else c
            for c in checked
        ]
    if all(c.status in GONE for c in checked):
        raise BudgetUnmetError(
            f"no candidate meets all of {budget.text} together: each alone can be met. Raise one of them."
        )
    return checked


def _up(value: float) -> float:
    """Rounded up at the third digit, so that the offered budget really fits."""
    digits = 10 ** (np.floor(np.log10(value)) - 2)
    return float(np.ceil(value / digits) * digits)


def with_latency(
    candidates: Sequence[Candidate],
    budget: Budget,
    table: LatencyTable,
    measure: Callable[[Sequence[Network]], Sequence[Latency]],
    *,
    limit: int = 24,
) -> list[Candidate]:
    """Predict every candidate's latency; measure those that the decision hangs on.

    Measured are the front by predicted latency, and the candidates within a quarter of the budget that would be on the
    front if the prediction were a quarter off; at most `limit`, best expected accuracy first.

    Args:
        candidates: the grid.
        budget: what must hold.
        table: of the device.
        measure: networks to their latencies on the device.
        limit: most networks that are measured.

    Raises:
        BudgetUnmetError: the fastest candidate is over the latency budget.
    """
    predicted = [replace(c, predicted_ms=table.predict_ms(c.network)) for c in candidates]
    alive = [c for c in predicted if c.status not in GONE]
    chosen = _to_measure(alive, budget, limit)
    measured = dict(zip((c.label for c in chosen), measure([c.network for c in chosen]), strict=True))
    known = [replace(c, measured=measured.get(c.label)) for c in predicted]
    if budget.latency_ms is None:
        return known
    limit_ms = budget.latency_ms
    if all(c.latency_ms > limit_ms for c in known if c.status not in GONE):
        best = min((c for c in known if c.status not in GONE), key=lambda c: c.latency_ms)
        smallest = best if best.measured else replace(best, measured=measure([best.network])[0])
        if smallest.latency_ms > limit_ms:
            raise BudgetUnmetError(
                f"nothing fits {limit_ms:g} ms on this device: the fastest candidate, {smallest.label}, takes "
                f"{smallest.latency_ms:.3g} ms. Raise the budget to at least "
                f"--budget {_up(1.1 * smallest.latency_ms):.3g}ms."
            )
        known = [smallest if c.label == smallest.label else c for c in known]
    return mark_slow(known, limit_ms)


def mark_slow(candidates: Sequence[Candidate], limit_ms: float) -> list[Candidate]:
    """Mark what is over a latency budget, by measurement where there is one."""
    return [
        replace(c, status="slow", reason=f"{c.latency_ms:.2f} ms over {limit_ms:g} ms")
        if c.status not in GONE and c.latency_ms > limit_ms
        else c
        for c in candidates
    ]


def _to_measure(alive: Sequence[Candidate], budget: Budget, limit: int) -> list[Candidate]:
    ceiling = budget.latency_ms if budget.latency_ms is not None else max(c.predicted_ms for c in alive)
    fast = [c for c in alive if c.predicted_ms <= ceiling] or [min(alive, key=lambda c: c.predicted_ms)]
    chosen = {c.label: c for c in front(fast)}
    close = [c for c in alive if 0.75 * ceiling <= c.predicted_ms <= 1.25 * ceiling]
    for candidate in sorted(close, key=lambda c: -c.expected):
        beaten = any(
            other.expected > candidate.expected and other.predicted_ms < 0.75 * candidate.predicted_ms
            for other in alive
        )
        if not beaten:
            chosen.setdefault(candidate.label, candidate)
    ranked = sorted(chosen.values(), key=lambda c: -c.expected)
    return ranked[:limit]


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The Pareto front by (latency, expected accuracy), fastest first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.latency_ms, -c.expected)):
        if not kept or candidate.expected > kept[-1].expected:
            kept.append(candidate)
    return kept


def spread(line: Sequence[Candidate]) -> list[Candidate]:
    """The same candidates in an order whose every beginning covers the whole: both ends, then the middles."""
    order = dict.fromkeys([0, len(line) - 1] if len(line) > 1 else range(len(line)))
    step = len(line)
    while len(order) < len(line):
        step = max(1, step // 2)
        order |= dict.fromkeys(range(0, len(line), step))
    return [line[i] for i in order]


def worth_trying(candidates: Sequence[Candidate], warm: Callable[[Candidate], bool]) -> list[Candidate]:
    """The front, and that of the networks which start from weights: published accuracies know nothing of the start."""
    alive = [c for c in candidates if c.status not in GONE]
    return list({c.label: c for c in (*front(alive), *front([c for c in alive if warm(c)]))}.values())


def choose(
    candidates: Sequence[Candidate],
    learned: Callable[[Candidate], float],
    count: int,
    warm: Callable[[Candidate], bool] = lambda _: False,
) -> list[Candidate]:
    """At most `count` of those worth trying for the search on the user's images, best first by `learned`.

    One family fills at most a third of the places (and one) while others are on the front: `learned` rests on
    accuracies published for other images and recipes, which the search corrects only where it sees other networks.

    Args:
        candidates: those over the budget are left out.
        learned: what a candidate is expected to reach in the time there is; larger is better.
        count: how many the search has time for.
        warm: whether a candidate starts from weights.

    Raises:
        MisuseError: nothing to choose from.
    """
    alive = [c for c in candidates if c.status not in GONE]
    if not alive:
        raise MisuseError("no candidate is left to choose from.")
    ranked = sorted(worth_trying(alive, warm), key=learned, reverse=True)
    most = max(1, count // 3)
    taken: Counter[str] = Counter()
    first: list[Candidate] = []
    rest: list[Candidate] = []
    for candidate in ranked:
        family = candidate.network.backbone or candidate.network.name
        taken[family] += 1
        (first if taken[family] <= most else rest).append(candidate)
    return sorted([*first, *rest][:count], key=learned, reverse=True)


def mark(candidates: Sequence[Candidate], changed: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with the changed ones in their places."""
    by_label = {c.label: c for c in changed}
    return [by_label.get(c.label, c) for c in candidates]


def prediction_error(candidates: Sequence[Candidate]) -> float | None:
    """Median relative error of predicted against measured latency; None where nothing was measured."""
    errors = [abs(c.predicted_ms / c.measured.median_ms - 1) for c in candidates if c.measured is not None]
    return float(np.median(errors)) if errors else None
