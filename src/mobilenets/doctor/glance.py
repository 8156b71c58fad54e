"""What can be said of a data set without decoding it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from mobilenets.data.folder import Folder
from mobilenets.data.listing import OddityKind
from mobilenets.data.sources import Source
from mobilenets.data.splits import Sample, labels_of
from mobilenets.doctor.examine import content, digest
from mobilenets.doctor.rules import MAX_IMBALANCE, MIN_IMAGES
from mobilenets.errors import DataError

_MAX_READ_BYTES = 256 << 20
"""Files are compared until so much is read; about two seconds from a warm disk."""

_MENDED: dict[OddityKind, str] = {
    "outside": "boxes go beyond their images and are clipped",
    "no area": "objects have no area and are left out",
    "no image": "annotations have no image and are left out",
    "no annotation": "images have no annotation and are left out",
}

_MORE = "`mobilenets check DATA` shows more."


def glance(folder: Folder) -> list[str]:
    """A few one-line remarks for the start of a training: empty files, copies, unequal classes, mended boxes.

    File sizes are compared first, contents only where sizes are equal, so that 50,000 files take a second or two.
    Files that lie in an archive or a table are not compared.
    """
    sizes = {sample.path: size for of in folder.splits.values() for sample in of if (size := _size(sample)) is not None}
    remarks = [_empty(sizes), _leaks(folder, sizes), _balance(folder), *_mended(folder)]
    return [f"{remark} {_MORE}" for remark in remarks if remark]


def _mended(folder: Folder) -> Iterator[str]:
    """What the reader of boxes or masks changed or left out."""
    for kind, words in _MENDED.items():
        if found := [odd for odd in folder.oddities if odd.kind == kind]:
            yield f"{len(found):,} {words}, such as {found[0].file} ({found[0].detail})."


def _size(sample: Sample) -> int | None:
    try:
        return sample.path.stat().st_size if isinstance(sample.path, Path) else None
    except OSError:  # reported when it is decoded
        return None


def _empty(sizes: dict[Source, int]) -> str:
    empty = [path for path, size in sizes.items() if size == 0]
    count = "1 file is" if len(empty) == 1 else f"{len(empty)} files are"
    return f"{count} empty (0 bytes), such as {empty[0]}." if empty else ""


def _leaks(folder: Folder, sizes: dict[Source, int]) -> str:
    train = {sample.path for sample in folder.splits.get("train", ()) if sizes.get(sample.path)}
    by_size: dict[int, list[Source]] = defaultdict(list)
    for path in train:
        by_size[sizes[path]].append(path)
    known: dict[int, dict[bytes, Source]] = {}
    found: list[tuple[str, Source, Source]] = []
    left = _MAX_READ_BYTES
    for split, samples in folder.splits.items():
        for path in (sample.path for sample in samples if split != "train" and sizes.get(sample.path) in by_size):
            size = sizes[path]
            left -= size if size in known else size * (1 + len(by_size[size]))
            if left < 0:
                break
            if size not in known:
                known[size] = _digests(by_size[size])
            if twin := known[size].get(next(iter(_digests([path])), b"")):
                found.append((split, path, twin))
    if not found:
        return ""
    counts = " and ".join(f"{n} of {split}" for split, n in Counter(split for split, _, _ in found).items())
    return f"{counts} lie in train too and flatter the score, such as {found[0][1]} (= {found[0][2]})."


def _digests(paths: list[Source]) -> dict[bytes, Source]:
    found: dict[bytes, Source] = {}
    for path in paths:
        try:
            found[digest(content(path))] = path
        except DataError:  # reported when it is decoded
            continue
    return found


def _balance(folder: Folder) -> str:
    counts = Counter(label for sample in folder.splits.get("train", ()) for label in labels_of(sample))
    if not counts:
        return ""
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > MAX_IMBALANCE * few:
        return f"Class {folder.classes[most]!r} has {many:,} images to learn from, {folder.classes[least]!r} {few:,}."
    if few < MIN_IMAGES:
        return f"Class {folder.classes[least]!r} has {few} images to learn from."
    return ""
