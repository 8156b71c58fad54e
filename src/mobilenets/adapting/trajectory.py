"""The way from the start to the budget: every kept network as a table, its numbers and its weights, in two files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError
from mobilenets.files import write_text
from mobilenets.model import MobileNet, save
from mobilenets.search import dimensions
from mobilenets.search.widths import Place
from mobilenets.table import Network
from mobilenets.table import json as table_json


@dataclass(frozen=True, slots=True)
class Kept:
    """A network on the way.

    Attributes:
        number: of the step; 0 is the start.
        network: its table.
        gave: the width that gave, in words; empty for the start.
        before: channels of that width before.
        after: channels after.
        score: by the task's metric on the images that proposals are chosen by.
        val: by the task's metric on validation images, which choose no proposal; they decide whether the
            long fine-tuning made the last step's network better.
        measured_ms: latency on the device, as timed beside the start.
        predicted_ms: by the table, corrected by what the network before taught; None where no latency is limited.
        file_bytes: of the exported file.
        macs: multiply-accumulates.
        params: parameters.
        ram_bytes: peak activation bytes.
        load: the largest part of a limit of the budget that it takes, by measurement.
        trained_steps: of its short fine-tuning.
        seconds: that the step took.
        proposals: of the step, with their scores.
    """

    number: int
    network: Network
    gave: str
    before: int
    after: int
    score: float
    val: float
    measured_ms: float
    predicted_ms: float | None
    file_bytes: int
    macs: int
    params: int
    ram_bytes: int
    load: float
    trained_steps: int = 0
    seconds: float = 0.0
    proposals: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def checkpoint(self) -> str:
        """Name of the file with its weights."""
        return f"{self.number:02d}.safetensors"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(replace(self, network=None))  # type: ignore[arg-type]
        return plain | {"network": table_json.to_dict(self.network), "checkpoint": self.checkpoint}

    @staticmethod
    def from_dict(values: Mapping[str, Any], where: str) -> Kept:
        """From plain JSON values."""
        plain = {k: v for k, v in values.items() if k not in ("network", "proposals", "checkpoint")}
        table = table_json.from_dict(values["network"], where=where)
        return Kept(network=table, proposals=tuple(values["proposals"]), **plain)


def keep(folder: Path, kept: Kept, model: MobileNet) -> None:
    """Write a step: weights first, so that a table without them never lies there."""
    save(model, folder / kept.checkpoint)
    note(folder, kept)


def note(folder: Path, kept: Kept) -> None:
    """Write a step's numbers."""
    write_text(folder / f"{kept.number:02d}.json", json.dumps(kept.to_dict(), indent=1))


def steps(folder: Path) -> list[Kept]:
    """The steps in a folder, from the start up to the last one that is whole.

    Raises:
        CheckpointError: one is damaged.
    """
    found: list[Kept] = []
    while (path := folder / f"{len(found):02d}.json").is_file():
        try:
            found.append(Kept.from_dict(json.loads(path.read_text(encoding="utf-8")), str(path)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path}: a damaged step ({error!r}). Remove it and the steps after it; --resume goes on from the one "
                "before."
            ) from error
    return found


def changed_rows(start: Network, end: Network) -> list[tuple[str, int, int]]:
    """(row and column, channels before, channels after) of every width that can give, row by row.

    Both are tables of the same operators; widths that stayed are among them.
    """
    found = sorted((place, way.width(start), way.width(end)) for way in dimensions(start) for place in way.places)
    return [(_words(place), before, after) for place, before, after in found]


def _words(place: Place) -> str:
    position = "" if place.position is None else f" {place.position + 1}"
    return f"row {place.row + 1} {place.field}{position}"


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of (latency, score) pairs that no other beats in both."""
    return [
        i
        for i, (ms, score) in enumerate(points)
        if not any((a <= ms and b >= score) and (a, b) != (ms, score) for a, b in points)
    ]
