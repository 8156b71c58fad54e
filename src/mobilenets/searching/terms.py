"""What all workers of a search must have alike: decided by the run that trains the shared weights, and kept in them.

Each worker's own latency table and measurements would narrow the space and price its networks a little differently.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from mobilenets.data.folder import Folder
from mobilenets.data.splits import split_names
from mobilenets.errors import MisuseError
from mobilenets.files import write_bytes
from mobilenets.search.points import Value

KEY = "search"
"""Of the terms in a file of shared weights."""

Anchors = tuple[tuple[int, ...], int, int]


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one search.

    Attributes:
        search: its mark, drawn at random.
        task: of the images.
        classes: their names.
        data: digest of the images' names in their splits.
        budget: in words.
        precision: of the artifacts.
        base: factor of the space's widths.
        choices: of the space, narrowed to the budget.
        anchors: of detectors.
        factor: measured over predicted latency, of the space's networks.
        error: median error of the table on them after that, as part.
        scored: validation images that networks are scored on.
        table: the latency table, as `LatencyTable.write` writes it; None where no latency is limited.
        source: where the weights come from that the shared ones began with; None for random ones.
    """

    search: str
    task: str
    classes: tuple[str, ...]
    data: str
    budget: str
    precision: str
    base: float
    choices: dict[str, list[Value]]
    anchors: Anchors | None
    factor: float
    error: float | None
    scored: int
    table: str | None
    source: str | None = None

    def check(self, path: str | Path, folder: Folder, budget: str, precision: str) -> None:
        """That a worker was asked for the same.

        Args:
            path: of the shared weights, for the message.
            folder: the worker's images.
            budget: in words.
            precision: of the artifacts.

        Raises:
            MisuseError: it was not.
        """
        pairs = (
            ("the task", self.task, folder.task),
            ("the classes", ", ".join(self.classes), ", ".join(folder.classes)),
            ("the budget", self.budget, budget),
            ("the precision", self.precision, precision),
        )
        for what, theirs, mine in pairs:
            if theirs != mine:
                raise MisuseError(f"{path} is of another search: {what} was {theirs}, here {mine}. Give the same.")
        if self.data != digest_of(folder):
            raise MisuseError(
                f"{path} is of another search: its images or their split were others than those in {folder.root}. "
                "Give the same images, under the same names, and the same --seed."
            )


def digest_of(folder: Folder) -> str:
    """Of the names of a data set's images, split by split."""
    told = json.dumps([folder.task, list(folder.classes), split_names(folder.root, folder.splits)], sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def write_terms(path: Path, terms: Terms) -> None:
    """Put the terms into a file of shared weights, which are trained to the end."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    write_bytes(path, to_safetensors(tensors, metadata={**about, KEY: json.dumps(asdict(terms))}))


def read_terms(path: str | Path) -> Terms | None:
    """The terms in a file of shared weights; None where their training is not over.

    Raises:
        MisuseError: the file holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        if KEY not in about and "state" in about:
            return None
        values: dict[str, Any] = json.loads(about[KEY])
        found = values.pop("anchors")
        anchors: Anchors | None = None if found is None else (tuple(found[0]), found[1], found[2])
        return Terms(**values | {"classes": tuple(values["classes"])}, anchors=anchors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise MisuseError(f"{path} holds no shared weights of a search: give a run's shared.safetensors.") from error
