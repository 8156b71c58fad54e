"""The search space: MnasNet's and MobileNetV3's blocks, stage by stage. A point of it is a `Network` table.

Source: factorised hierarchical space of MnasNet (arXiv 1807.11626, section 4.1) with MobileNetV3's columns; V1's
separable blocks beside them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mobilenets.errors import MisuseError
from mobilenets.search.points import Choices, Point, Value, size
from mobilenets.table import json as table_json
from mobilenets.table.graph import round_channels
from mobilenets.table.rows import (
    Act,
    Bottleneck,
    BoxPredictor,
    Conv,
    DepthwiseSeparable,
    Linear,
    Network,
    Pool,
    Row,
)
from mobilenets.zoo.heads import lraspp, raspp, ssdlite

PREFIX = "searched_"
"""Of the names of networks that a search found."""
BOTTLENECK, SEPARABLE = "bottleneck", "separable"
BLOCKS = (SEPARABLE, BOTTLENECK)
"""V1's, or V2's and V3's: of a whole network. Where stages chose by themselves, mixed networks learned next to nothing
from shared weights in the minutes that two cores have (10 to 20 % of CIFAR-10, unmixed ones 25 to 40 %)."""
DIVISOR = 8


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width, the first of which may stride; what may be chosen of them, smallest values first.

    Attributes:
        out: channels of the base.
        stride: of the first block.
        depths: numbers of blocks; 0 leaves the stage out, which only one without stride can be.
        kernels: of the depthwise convolutions.
        expands: channels inside a bottleneck for each one that enters.
        widths: factors of `out`.
        squeezes: 0 without squeeze-and-excite, 0.25 with V3's.
        acts: `relu` or `hard_swish`.
    """

    out: int
    stride: int
    depths: tuple[int, ...] = (1, 2, 3, 4)
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (2, 3, 4, 6)
    widths: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25)
    squeezes: tuple[float, ...] = (0.0, 0.25)
    acts: tuple[str, ...] = (str(Act.RELU), str(Act.HSWISH))

    def choices(self) -> dict[str, tuple[Value, ...]]:
        """By name, without the stage's."""
        return {
            "depth": self.depths,
            "kernel": self.kernels,
            "expand": self.expands,
            "width": self.widths,
            "squeeze": self.squeezes,
            "act": self.acts,
        }


STAGES = (
    Stage(16, 1, depths=(0, 1, 2)),
    Stage(24, 2),
    Stage(40, 2),
    Stage(80, 2),
    Stage(112, 1, depths=(0, 1, 2, 3, 4)),
    Stage(160, 2),
)
"""Widths and strides of MobileNetV3-Large; at half of them, those of Small."""
_SQUARES = (96, 128, 160, 192, 224, 256)
_HEADS: dict[str, dict[str, tuple[Value, ...]]] = {
    "classify": {"head.conv": (0.25, 0.5, 1.0), "head.features": (0, 320, 640, 1280)},
    "detect": {"head.conv": (0.25, 0.5), "head.width": (0.25, 0.5, 1.0)},
    "segment": {"head.conv": (0.25, 0.5), "head.kind": ("lraspp", "raspp"), "head.filters": (64, 128, 256)},
}
_RESOLUTIONS = {"classify": _SQUARES, "detect": (128, 160, 192, 256, 320), "segment": (128, 192, 256, 384)}
LAST = 960
"""Channels of the base's last convolution; `head.conv` is a factor of it."""


@dataclass(frozen=True, slots=True)
class Space:
    """What may be chosen, and how a point becomes a table.

    Attributes:
        task: what the networks answer: `classify`, `detect`, `segment`.
        classes: how many.
        choices: values by name, such as `stage2.kernel`; smallest first where they have an order.
        base: factor of all widths of `STAGES`, stem and head.
        anchors: of detectors: how many a place has, map by map, and the scales of the first and the last map's.
    """

    task: str
    classes: int
    choices: Choices
    base: float = 1.0
    anchors: tuple[tuple[int, ...], int, int] | None = None

    @staticmethod
    def of(task: str, classes: int, *, base: float = 1.0, resolutions: tuple[int, ...] = ()) -> Space:
        """The whole space of a task.

        Args:
            task: `classify` (also several labels an image), `detect` or `segment`.
            classes: outputs.
            base: factor of all widths.
            resolutions: heights and widths of the input image in pixels; those usual for the task where none are given.
        """
        choices: dict[str, tuple[Value, ...]] = {"resolution": tuple(sorted(resolutions)) or _RESOLUTIONS[task]}
        choices["blocks"] = BLOCKS
        for number, stage in enumerate(STAGES, 1):
            choices |= {f"stage{number}.{name}": values for name, values in stage.choices().items()}
        return Space(task, classes, choices | _HEADS[task], base)

    @property
    def size(self) -> int:
        """How many points there are; those that differ in what they do not use counted apart."""
        return size(self.choices)

    def largest(self) -> Point:
        """The last value of every choice."""
        return {name: values[-1] for name, values in self.choices.items()}

    def smallest(self) -> Point:
        """The first value of every choice."""
        return self.canonical({name: values[0] for name, values in self.choices.items()})

    def draw(self, rng: random.Random, fixed: Mapping[str, Value] | None = None) -> Point:
        """Each choice by itself, but those that are fixed."""
        return self.canonical({name: rng.choice(values) for name, values in self.choices.items()} | dict(fixed or {}))

    def canonical(self, point: Point) -> Point:
        """The same table with the first value wherever it does not matter: what a left-out stage would be, say."""
        found = {name: self._known(name, point) for name in self.choices}
        for number in range(1, len(STAGES) + 1):
            at = f"stage{number}."
            unused: tuple[str, ...] = ()
            if not found[at + "depth"]:
                unused = ("kernel", "expand", "width", "squeeze", "act")
            elif found["blocks"] == SEPARABLE:
                unused = ("expand", "squeeze")
            found |= {at + name: self.choices[at + name][0] for name in unused}
        return found

    def network(self, point: Point, *, named: bool = True) -> Network:
        """The table of a point, named after its rows.

        Args:
            point: of this space.
            named: without, it is had in half the time: what it costs does not hang on its name.

        Raises:
            MisuseError: a choice is missing, or has a value that the space does not have.
        """
        return self.built(point, named=named)[0]

    def built(self, point: Point, *, named: bool = True) -> tuple[Network, tuple[str, ...]]:
        """The table of a point, and the place in the space that each of its rows fills.

        A place, such as `bottleneck.stage2.block1`, is filled by rows that may share weights: those of networks of one
        kind of block, but for the stem.
        """
        chosen = self.canonical(point)
        rows: list[tuple[str, Row]] = [("stem", Conv(3, self._wide(16), Act.HSWISH, 2))]
        channels = self._wide(16)
        for number in range(1, len(STAGES) + 1):
            for place, row in self._stage(number, chosen, channels):
                rows.append((place, row))
                channels = row.out
        body = len(rows)
        rows.append((f"{chosen['blocks']}.last", Conv(1, self._wide(LAST * float(chosen["head.conv"])), Act.HSWISH)))
        network = Network("searched", "found by search", tuple(row for _, row in rows), int(chosen["resolution"]))
        network, places = self._headed(network, chosen, [place for place, _ in rows][: body + 1])
        return (replace(network, name=PREFIX + _digest(network)) if named else network), places

    def _stage(
        self, number: int, chosen: Mapping[str, Value], channels: int
    ) -> list[tuple[str, Bottleneck | DepthwiseSeparable]]:
        """The blocks of a stage that `channels` enter."""
        at, stage = f"stage{number}.", STAGES[number - 1]
        kernel, act = int(chosen[at + "kernel"]), Act(str(chosen[at + "act"]))
        out = self._wide(stage.out * float(chosen[at + "width"]))
        found: list[tuple[str, Bottleneck | DepthwiseSeparable]] = []
        for block in range(1, int(chosen[at + "depth"]) + 1):
            stride = stage.stride if block == 1 else 1
            if chosen["blocks"] == SEPARABLE:
                row: Bottleneck | DepthwiseSeparable = DepthwiseSeparable(kernel, out, act, stride)
            else:
                expand = round_channels(channels * int(chosen[at + "expand"]), DIVISOR)
                row = Bottleneck(kernel, expand, out, bool(chosen[at + "squeeze"]), act, stride)
            found.append((f"{chosen['blocks']}.{at}block{block}", row))
            channels = out
        return found

    def _headed(self, body: Network, chosen: Mapping[str, Value], places: list[str]) -> tuple[Network, tuple[str, ...]]:
        """The head behind a body that ends in its last convolution, and the places of all rows."""
        match self.task:
            case "classify":
                features = self._wide(float(chosen["head.features"])) if chosen["head.features"] else 0
                tail: tuple[Row, ...] = (Conv(1, features, Act.HSWISH, norm=False),) if features else ()
                network = replace(body, rows=(*body.rows, Pool(), *tail, Linear(self.classes)))
            case "detect":
                backbone = replace(body, rows=(*body.rows, Linear(self.classes)))
                # the extra layers follow the width that their backbone claims
                scaled = replace(backbone, width=self.base * float(chosen["head.width"]))
                network = self._anchored(replace(ssdlite(scaled, self.classes), width=1.0))
            case _:
                head = raspp if chosen["head.kind"] == "raspp" else lraspp
                backbone = replace(body, rows=(*body.rows, Linear(self.classes)), expansion_head=True)
                network = head(backbone, self.classes, filters=self._wide(float(chosen["head.filters"])))
                network = replace(network, expansion_head=False)
        return network, (*places, *self._head_places(network.rows[len(places) :], chosen))

    def _anchored(self, network: Network) -> Network:
        """With the space's anchors."""
        row = network.rows[-1]
        if self.anchors is None or not isinstance(row, BoxPredictor):
            return network
        anchors, smallest, largest = self.anchors
        fitted = replace(row, anchors=anchors, smallest=smallest, largest=largest)
        return replace(network, rows=(*network.rows[:-1], fitted))

    def _head_places(self, rows: tuple[Row, ...], chosen: Mapping[str, Value]) -> list[str]:
        """Places of a head's rows: type and number, and what decides which features they read."""
        reads = {
            "Linear": "" if chosen.get("head.features") else ".pooled",
            "Aspp": f".{chosen.get('head.filters')}",  # its branches, side by side, begin at other channels
        }
        kinds = [type(row).__name__ for row in rows]
        return [
            f"{chosen['blocks']}.head.{kind}{kinds[:i].count(kind) + 1}{reads.get(kind, '')}"
            for i, kind in enumerate(kinds)
        ]

    def _wide(self, channels: float) -> int:
        return round_channels(channels * self.base, DIVISOR)

    def _known(self, name: str, point: Point) -> Value:
        if name not in point or point[name] not in self.choices[name]:
            found = point.get(name, "nothing")
            raise MisuseError(
                f"{name} is {found!r}: this search space has {', '.join(map(str, self.choices[name]))} there."
            )
        return point[name]

    def narrowed(self, load: Callable[[Point], float], most: float) -> Space:
        """The space without the largest values, until its largest network takes at most `most` times the budget.

        Weights that are shared by a whole space are trained for its largest network first: far beyond the budget that
        is time lost. Of all values that may go, each time that goes which takes most of the largest network's load;
        every choice keeps two, where it had as many.

        Args:
            load: what a point takes of the budget, 1 is all of it.
            most: times the budget.
        """
        space = self
        while load(space.largest()) > most:
            smaller = [space._without_last(name) for name, values in space.choices.items() if len(values) > 2]
            if not smaller:
                break
            space = min(smaller, key=lambda s: load(s.largest()))
        return space

    def _without_last(self, name: str) -> Space:
        return replace(self, choices={**self.choices, name: self.choices[name][:-1]})


def _digest(network: Network) -> str:
    values = table_json.to_dict(network)
    kept = {key: values[key] for key in ("rows", "resolution", "output_stride")}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:8]
