"""A bundle: one model in every format and precision that was asked for, each proven, and a manifest of them all."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.sources import Source
from mobilenets.data.splits import Label
from mobilenets.errors import MobileNetsError, UnknownNameError, VerificationError
from mobilenets.exports.census import Census, census
from mobilenets.exports.evidence import artifact_part, measured, write_evidence
from mobilenets.exports.formats import FORMATS, Format, check_precision
from mobilenets.exports.postprocess import Postprocess
from mobilenets.exports.verify import Verification
from mobilenets.exports.whole import files_of, size_bytes
from mobilenets.exports.write import check_images
from mobilenets.files import write_text
from mobilenets.heads import anchors
from mobilenets.model import MobileNet, versions
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime import open_artifact
from mobilenets.runtime.session import Images

FORMAT = "mobilenets-artifacts/1"
MANIFEST = "artifacts.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One format in one precision: a proven file, or why there is none.

    Attributes:
        format: as `--formats` takes it.
        precision: of the file.
        file: its name in the bundle; None where there is none.
        bytes: of it and what belongs to it.
        sha256: of each of its files, by name.
        seconds: that writing and proving took.
        verification: the proof.
        census: its operators.
        error: why it failed.
    """

    format: str
    precision: Precision
    file: str | None = None
    bytes: int = 0
    sha256: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    verification: Verification | None = None
    census: Census | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        proof = self.verification
        return {
            "format": self.format,
            "precision": self.precision,
            "file": self.file,
            "bytes": self.bytes,
            "sha256": dict(self.sha256),
            "batch": proof.batch if proof else None,
            "runtime": proof.runtime if proof else None,
            "verification": proof.to_dict() if proof else None,
            "census": self.census.to_dict() if self.census else None,
            "seconds": self.seconds,
            "error": self.error,
        }


def bundle(
    model: MobileNet,
    folder: Path,
    *,
    plan: Sequence[tuple[Format, Precision]],
    images: Images,
    labels: Sequence[Label] | None = None,
    calibration: Images | None = None,
    scheme: Scheme = Scheme(),  # noqa: B008 - frozen
    max_drop: float | None = None,
    postprocess: Postprocess = Postprocess(),  # noqa: B008 - frozen
    name: str = "model",
    examples: Sequence[Source] = (),
    on_artifact: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> tuple[Artifact, ...]:
    """Write and prove a model in several formats; one that fails does not stop the others.

    Args:
        model: the PyTorch model.
        folder: for `NAME_PRECISION.EXT` of each, and the manifest `artifacts.json`.
        plan: what is written, as `planned` gives it.
        images: uint8 (n, h, w, c), to compare on.
        labels: of the images: int8 is then judged by the task's metric.
        calibration: uint8 (n, h, w, c), for int8.
        scheme: how int8 is made.
        max_drop: what int8 may lose of the metric; by the task unless given.
        postprocess: whether boxes or masks are made inside the files of formats that can, and by which thresholds.
        name: of the files.
        examples: image files that the parity pack takes eight of; generated scenes where none are given.
        on_artifact: told what comes next, how many are done, and of how many.

    Raises:
        MisuseError: int8 without images.
    """
    check_images(plan, has_images=calibration is not None and len(calibration) > 0)
    made: list[Artifact] = []
    for format, precision in plan:
        on_artifact(f"{format.title} {precision}", len(made), len(plan))
        path = folder / f"{name}_{precision}{format.suffix}"
        made.append(
            _artifact(model, path, format, precision, images, labels, calibration, scheme, max_drop, postprocess)
        )
    write_manifest(folder, model, made)
    _write_companions(folder, model, made, examples)
    on_artifact("report", len(plan), len(plan))
    _write_report(folder, model, made, images, labels)
    return tuple(made)


def _write_report(
    folder: Path, model: MobileNet, made: Sequence[Artifact], images: Images, labels: Sequence[Label] | None
) -> None:
    """`report.html` and `report.json`, with every file's latency here and, where there are labels, its score."""
    parts = []
    for artifact in made:
        if artifact.file is not None and artifact.verification is not None:
            path = folder / artifact.file
            parts.append(
                artifact_part(model, path, folder, artifact.verification, **measured(model, path, images, labels))
            )
    failed = [f"{a.format} {a.precision} failed: {a.error}" for a in made if a.error]
    proofs = {"images compared on": len(images), "labelled": labels is not None}
    write_evidence(folder, model, {"verb": "export", "artifacts": parts, "notes": failed, "asked": proofs})


def _write_companions(folder: Path, model: MobileNet, made: Sequence[Artifact], examples: Sequence[Source]) -> None:
    """A parity pack and reference loaders of the bundle's ONNX file, the most exact one, where there is one."""
    file = next((artifact.file for artifact in made if artifact.format == "onnx" and artifact.file), None)
    if file is None:
        return
    from mobilenets.exports.loaders import write_loaders, write_parity_pack

    session = open_artifact(folder / file)
    places = anchors(model.network) if session.task == "detect" else None
    write_parity_pack(folder, examples, session.preprocessing, session.outputs, session.classes, anchors=places)
    write_loaders(folder, file, session.metadata)


def planned(
    formats: Sequence[str], precisions: Sequence[Precision], *, has_images: bool
) -> tuple[tuple[Format, Precision], ...]:
    """What is written, in the order of the formats: each in those of the precisions that it has.

    Args:
        formats: names of formats, or `all`.
        precisions: fp32, fp16, int8.
        has_images: whether there are some that int8 can take its ranges from.

    Raises:
        UnknownNameError: no such format or precision.
        MisuseError: a format that was named and has none of the precisions, or int8 without images.
    """
    by_name = {format.name: format for format in FORMATS.values()}
    asked = [str(name) for name in by_name] if "all" in formats else list(dict.fromkeys(formats))
    for name in asked:
        if name not in by_name:
            known = ["all", *map(str, by_name)]
            raise UnknownNameError("export format", name, known, hint=f"Known: {', '.join(known)}.")
    chosen = [format for format in by_name.values() if format.name in asked]
    for precision in precisions:
        check_precision(FORMATS[".onnx"], precision)  # which has them all: this tells whether it is one
    if "all" not in formats:
        for format in chosen:
            if not set(precisions) & set(format.precisions):
                check_precision(format, precisions[0])
    plan = tuple((f, p) for f in chosen for p in dict.fromkeys(precisions) if p in f.precisions)
    check_images(plan, has_images=has_images)
    return plan


def _artifact(
    model: MobileNet, path: Path, format: Format, precision: Precision, images: Images,
    labels: Sequence[Label] | None, calibration: Images | None, scheme: Scheme, max_drop: float | None,
    postprocess: Postprocess,
) -> Artifact:  # fmt: skip
    from mobilenets.exports import export

    start = time.perf_counter()
    proof, error = None, None
    try:
        proof = export(
            model, path, images=images, precision=precision, calibration=calibration, scheme=scheme, labels=labels,
            max_drop=max_drop, postprocess=postprocess,
        )  # fmt: skip
    except MobileNetsError as problem:
        error = str(problem)
        found = problem.result if isinstance(problem, VerificationError) else None
        proof = found if isinstance(found, Verification) else None
    seconds = time.perf_counter() - start
    if error is not None or proof is None:
        return Artifact(format.name, precision, seconds=seconds, verification=proof, error=error)
    counted = census(model, path)
    return Artifact(format.name, precision, path.name, size_bytes(path), hashes(path), seconds, proof, counted)


def hashes(path: Path) -> tuple[tuple[str, str], ...]:
    """(name, sha256) of every file of an artifact, names as they are from its folder."""
    parts = [sorted(part.rglob("*")) if part.is_dir() else [part] for part in files_of(path)]
    files = [file for part in parts for file in part if file.is_file()]
    return tuple((str(f.relative_to(path.parent)), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files)


def write_manifest(folder: Path, model: MobileNet, made: Sequence[Artifact]) -> Path:
    """Write `artifacts.json`."""
    info = model.info
    manifest = {
        "format": FORMAT,
        "network": model.network.label,
        "task": info.task,
        "classes": list(info.classes),
        "preprocessing": info.preprocessing.to_dict(),
        "metrics": info.metrics,
        "versions": versions(),
        "artifacts": [artifact.to_dict() for artifact in made],
    }
    path = folder / MANIFEST
    write_text(path, json.dumps(manifest, indent=1, ensure_ascii=False))
    return path
