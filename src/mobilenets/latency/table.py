"""The per-node latency table of one device: read to predict any network.

An exact entry answers for a kernel that was in something measured, the law of its kind for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mobilenets.errors import MisuseError
from mobilenets.files import write_text
from mobilenets.latency.kernels import Kernel, kernels
from mobilenets.latency.laws import PRIOR, law_ms
from mobilenets.metrics import Task
from mobilenets.table.nodes import INPUT
from mobilenets.table.rows import Network

FORMAT = 7
"""Raised when entries change their meaning: an older cached table is then built anew."""


@dataclass(frozen=True, slots=True)
class TableError:
    """How far predictions are from networks that the table was not built from.

    Attributes:
        median: of the relative errors' absolute values.
        p90: their 90th percentile.
        networks: label -> (predicted ms, measured ms).
    """

    median: float
    p90: float
    networks: Mapping[str, tuple[float, float]]

    @staticmethod
    def of(networks: Mapping[str, tuple[float, float]]) -> TableError:
        """Of predictions and measurements."""
        errors = [abs(predicted / measured - 1) for predicted, measured in networks.values()]
        return TableError(float(np.median(errors)), float(np.percentile(errors, 90)), networks)

    def __str__(self) -> str:
        return (
            f"{self.median:.1%} median and {self.p90:.1%} 90th percentile over {len(self.networks)} networks that it "
            "was not built from"
        )


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Entries in milliseconds by kernel key, and the laws for kernels that have none.

    Attributes:
        device: the machine.
        runtime: name and version.
        threads: threads inside an operator.
        precision: of weights and activations.
        entries: milliseconds of a kernel inside real networks.
        scale: of `laws.rough_ms` on this device.
        laws: coefficients by kind of kernel, see `laws.features`.
        measured: milliseconds of each artifact that it was built from.
        error: of its predictions; None where that was not measured.
        task: what the networks answer that it was built from: heads have kernels that classifiers do not have.
        inside: their boxes and masks were made inside the files.
    """

    device: str
    runtime: str
    threads: int
    precision: str
    entries: Mapping[str, float]
    scale: float
    laws: Mapping[str, tuple[float, ...]]
    measured: Mapping[str, float]
    error: TableError | None = None
    task: Task = "classify"
    inside: bool = False
    _known_ms: dict[Kernel, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        """What its numbers hold for."""
        return table_key(self.device, self.runtime, self.precision, self.threads, self.task, inside=self.inside)

    def predict_ms(self, network: Network) -> float:
        """Milliseconds for one image.

        Raises:
            MisuseError: kernels of a kind that nothing measured had.
        """
        return self.total_ms(network, kernels(network))

    def total_ms(self, network: Network, found: Mapping[str, Kernel]) -> float:
        """Milliseconds for one image of a network whose kernels are found already; see `predict_ms`."""
        self._check(network, found)
        return sum(map(self.kernel_ms, found.values()))

    def by_row(self, network: Network) -> dict[int, float]:
        """Milliseconds of each row of the printed table, from 1; 0 is the scaling of the pixels.

        Raises:
            MisuseError: kernels of a kind that nothing measured had.
        """
        found = kernels(network)
        self._check(network, found)
        rows = dict.fromkeys(range(len(network.rows) + 1), 0.0)
        for name, kernel in found.items():
            rows[_row(name)] += self.kernel_ms(kernel)
        return rows

    def _check(self, network: Network, found: Mapping[str, Kernel]) -> None:
        if unknown := sorted({kernel.kind for kernel in found.values()} - self.laws.keys()):
            raise MisuseError(
                f"{network.label}: the latency table has no kernel like {', '.join(unknown)}; it knows "
                f"{', '.join(sorted(self.laws)) or 'none'}. Measure the network (`mobilenets bench`) instead, or build "
                f"a table of such networks (`mobilenets latency build --task {network.task}`)."
            )

    def kernel_ms(self, kernel: Kernel) -> float:
        """Milliseconds of one kernel: its entry, else the law of its kind."""
        found = self._known_ms.get(kernel)
        if found is None:
            found = self.entries.get(kernel.key)
            if found is None:
                found = self.scale * law_ms(kernel, self.laws[kernel.kind])
            self._known_ms[kernel] = found
        return found

    def write(self, path: str | Path) -> None:
        """As JSON, to be kept or shared."""
        values = asdict(self)
        del values["_known_ms"]
        write_text(path, json.dumps({"format": FORMAT, **values}, indent=1))

    @staticmethod
    def read(path: str | Path) -> LatencyTable:
        """From a file that `write` made.

        Raises:
            MisuseError: no such file, another format, or damaged.
        """
        try:
            return _from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise MisuseError(f"no such file: {path}.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MisuseError(
                f"{path}: not a latency table of this version (format {FORMAT}): {error}. `mobilenets latency build` "
                "makes one."
            ) from error


def table_key(
    device: str, runtime: str, precision: str, threads: int, task: Task = "classify", *, inside: bool = False
) -> str:
    """What a table's numbers hold for, in words."""
    heads = {"detect": " | detectors", "segment": " | segmenters"}.get(task, "")
    heads += " with post-processing" if heads and inside else ""
    return f"{device} | {runtime} {precision} | {threads} thread{'s' * (threads > 1)}{heads}"


def _row(name: str) -> int:
    """Number of the row of a kernel's name; 0 before the first."""
    return 0 if name in (INPUT, "preprocess") else int(name[3 : name.index(".")])


def _from_dict(data: Any) -> LatencyTable:
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}")
    entries = _numbers(data["entries"])
    laws = {str(kind): tuple(float(v) for v in law) for kind, law in data["laws"].items()}
    if not entries or any(len(key.split()) != len(Kernel._fields) for key in entries):
        raise ValueError("its entries are no kernels")
    if any(len(law) != len(PRIOR) for law in laws.values()) or {key.split()[0] for key in entries} != set(laws):
        raise ValueError("its laws do not match its entries")
    found = data["error"]
    pairs = {str(k): (float(a), float(b)) for k, (a, b) in found["networks"].items()} if found else {}
    return LatencyTable(
        str(data["device"]),
        str(data["runtime"]),
        int(data["threads"]),
        str(data["precision"]),
        entries,
        float(data["scale"]),
        laws,
        _numbers(data["measured"]),
        TableError(float(found["median"]), float(found["p90"]), pairs) if found else None,
        _task(data.get("task", "classify")),
        data.get("inside", False) is True,
    )


def _task(name: object) -> Task:
    known: tuple[Task, ...] = get_args(Task)
    for task in known:
        if task == name:
            return task
    raise ValueError(f"its task is {name!r}")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}
