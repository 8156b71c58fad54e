"""Parts of a report that any verb can make: when, where, which files, which line does it again."""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mobilenets.latency import processor
from mobilenets.report.schema import Artifact, Command, Epoch, File, Machine, NodeNoise, Parity, State, Timed


def now() -> str:
    """The moment with its zone, to the second: `2026-01-31 14:05:00+01:00`."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


def machine() -> Machine:
    """What runs this: processor, cores, memory, system."""
    found = Machine(name=processor(), kind="local", cores=os.cpu_count() or 1, system=platform.platform())
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found


def command(what: str, *arguments: object) -> Command:
    """A line of this command line, quoted for a shell, and what it does; arguments that are None are left out."""
    return Command(what=what, line=shlex.join(["mobilenets", *(str(a) for a in arguments if a is not None)]))


def history(path: str | Path) -> list[Epoch]:
    """A training's `metrics.csv` as numbers; empty where there is none."""
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Epoch(**{key: float(value) for key, value in line.items()}) for line in csv.DictReader(file)]  # type: ignore[typeddict-item]


def artifact(
    path: str | Path,
    folder: str | Path,
    *,
    format: str,
    precision: str,
    verification: Mapping[str, Any] | None = None,
    census: Mapping[str, Any] | None = None,
    latency: Mapping[str, Any] | None = None,
    metric: float | None = None,
    images: int = 0,
) -> Artifact:
    """An exported file as a report lists it.

    Args:
        path: the file, or a folder that is one.
        folder: of the report.
        format: as people call it.
        precision: of weights and activations.
        verification: what its proof says, `Verification.to_dict()`.
        census: of its operators: `quantized`, `floating`, `islands`, `remark`.
        latency: `Latency.to_dict()`.
        metric: its own score in its own runtime.
        images: that it was scored on.
    """
    path = Path(path)
    found = Artifact(
        file=_named(path, folder),
        format=format,
        precision=precision,
        file_bytes=size_of(path),
        sha256=sha256(path),
        metric=metric,
        images=images,
        latency=None if latency is None else Timed(**{k: v for k, v in latency.items() if k in Timed.__annotations__}),  # type: ignore[typeddict-item]
    )
    if verification is not None:
        found.update(_proved(verification))
    if census is not None:
        found["islands"] = list(census.get("islands", ()))
        found["operators"] = {"int8": census["quantized"], "float": census["floating"]}
        if census.get("remark") and not (census["quantized"] or census["floating"]):
            del found["operators"]
    return found


def _proved(verification: Mapping[str, Any]) -> Artifact:
    """What a proof says of an artifact."""
    ran = bool(verification.get("images"))
    state: State = "failed" if not verification["passed"] else "passed" if ran else "not run here"
    batch = verification.get("batch")
    reasons = [*([] if ran else [str(verification.get("runtime", ""))]), *verification.get("problems", ())]
    found = Artifact(state=state, batch="any" if batch is None else batch, reason="; ".join(filter(None, reasons)))
    if ran:
        found["runtime"] = str(verification.get("runtime", ""))
        # where boxes and pixels are made inside the file, they were compared, and no probabilities
        agreed = verification.get("rule") == "agreement" and verification.get("task") in ("detect", "segment")
        said = Parity.__annotations__.keys() - ({"max_difference"} if agreed else set())
        found["parity"] = Parity(**{k: v for k, v in verification.items() if k in said})  # type: ignore[typeddict-item]
    return found


def noise(
    nodes: Iterable[Mapping[str, Any]], operators: Mapping[str, str], kept: Mapping[str, str] | None = None
) -> list[NodeNoise]:
    """A sensitivity sweep's nodes (`address`, `snr_db`, `alone_db`) as a report lists them.

    Args:
        nodes: in running order.
        operators: address -> the operator in the papers' words.
        kept: address -> precision, of those that are not int8.
    """
    precisions = kept or {}
    return [
        NodeNoise(
            name=node["address"],
            op=operators.get(node["address"], ""),
            snr_db=node.get("snr_db"),
            alone_db=node.get("alone_db"),
            precision=precisions.get(node["address"], "int8"),
        )
        for node in nodes
    ]


def listed(paths: Iterable[str | Path], folder: str | Path) -> list[File]:
    """Files with size and hash, named from the report's folder where they lie in it; missing ones are left out."""
    found = [Path(path) for path in paths]
    return [
        File(file=_named(path, folder), file_bytes=size_of(path), sha256=sha256(path))
        for path in found
        if path.exists()
    ]


def _named(path: Path, folder: str | Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files(Path(path)))


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def sha256(path: str | Path) -> str:
    """Of a file, in hexadecimal digits; of a folder, over its files' names and hashes in order."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path))
    return hashlib.sha256(lines.encode()).hexdigest()
