"""What was seen in the images to findings."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mobilenets.data.files import EXTENSIONS
from mobilenets.data.sources import Source
from mobilenets.doctor.copies import Floats, Thumbs, contrast, likeness, near_duplicates
from mobilenets.doctor.examine import Facts
from mobilenets.doctor.findings import KINDS, Finding
from mobilenets.doctor.survey import ALL, Item

MAX_IMBALANCE = 10
MIN_IMAGES = 10
MAX_ASPECT = 3.0
"""Beyond it a square from the centre shows less than a third of the picture."""

ENLARGE = 3
"""Resolutions beyond three times the images' own size show nothing new: at three times its size a 32 px image gives the
last stage of a network with total stride 32 3x3 features."""

MIN_SPREAD = 2.0
"""Standard deviation of a thumbnail's pixels below which an image is of one colour, of 255."""

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
    "AVIF": (".avif",),
}
_NOTES = ("rotated", "grey", "CMYK", "16 bits", "transparent", "animated")
_BROKEN = {"empty file": "empty file", "truncated": "truncated", "decompression bomb": "decompression bomb"}
_PHOTOS = frozenset(
    (".heic", ".heif", ".jxl", ".jp2", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".psd", ".tga")
)
_MAX_CLOSEST = 128  # members of a group among which the closest pair is looked for


def of_files(
    items: Sequence[Item], facts: Sequence[Facts], thumbs: Thumbs, resolution: int, *, cropped: bool = True
) -> Iterator[Finding]:
    """What is wrong with single images; `cropped` says that the network sees their centre only."""
    yield from _broken(items, facts)
    yield from _wrong_extensions(items, facts)
    yield from _one_colour(items, facts, contrast(thumbs))
    yield from _sizes(items, facts, resolution)
    if cropped:
        yield from _aspects(items, facts)
    for trait in _NOTES:
        if paths := tuple(item.path for item, fact in zip(items, facts, strict=True) if trait in fact.traits):
            yield Finding(trait, "note", paths, f"{_images(paths)}: {KINDS[trait]}.")


def _images(paths: Sequence[Source]) -> str:
    return f"{len(paths):,} image{'s' * (len(paths) != 1)}"


def _broken(items: Sequence[Item], facts: Sequence[Facts]) -> Iterator[Finding]:
    for item, fact in zip(items, facts, strict=True):
        if fact.error is not None:
            reason = fact.error.removeprefix(f"{item.path}: ")
            kind = next((kind for words, kind in _BROKEN.items() if reason.startswith(words)), "unreadable")
            yield Finding(kind, "fault", (item.path,), f"{reason} Replace or remove it.")


def _wrong_extensions(items: Sequence[Item], facts: Sequence[Facts]) -> Iterator[Finding]:
    for item, fact in zip(items, facts, strict=True):
        suffix = item.path.suffix.lower()
        if fact.format and suffix in EXTENSIONS and suffix not in _SUFFIXES[fact.format]:
            message = f"a {fact.format} named {suffix}: read by its content here, other programs may refuse it."
            yield Finding("wrong extension", "warning", (item.path,), message)


def _one_colour(items: Sequence[Item], facts: Sequence[Facts], spread: Floats) -> Iterator[Finding]:
    for item, fact, value in zip(items, facts, spread.tolist(), strict=True):
        if fact.error is None and value < MIN_SPREAD:
            yield Finding("one colour", "warning", (item.path,), "next to nothing to see: remove it.")


def _sizes(items: Sequence[Item], facts: Sequence[Facts], resolution: int) -> Iterator[Finding]:
    small = [(item.path, f) for item, f in zip(items, facts, strict=True) if 0 < ENLARGE * _short(f) < resolution]
    if small:
        paths, shorts = tuple(path for path, _ in small), [_short(fact) for _, fact in small]
        span = f"{min(shorts)} px" if min(shorts) == max(shorts) else f"{min(shorts)} to {max(shorts)} px"
        every = len(small) == len(items)
        message = (
            f"{len(small):,} of {len(items):,} images: short side {span}, less than a third of {resolution} px: "
            + (f"train at {ENLARGE * max(shorts)} px or less." if every else "use larger originals.")
        )
        yield Finding("too small", "warning", paths, message)


def _aspects(items: Sequence[Item], facts: Sequence[Facts]) -> Iterator[Finding]:
    for item, fact in zip(items, facts, strict=True):
        if fact.height and max(fact.width, fact.height) > MAX_ASPECT * _short(fact):
            seen = _short(fact) / max(fact.width, fact.height)
            message = f"{fact.width}x{fact.height} px: a square from the centre shows {seen:.0%}; crop it by hand."
            yield Finding("extreme aspect", "warning", (item.path,), message)


def _short(fact: Facts) -> int:
    return min(fact.width, fact.height)


def of_others(others: Iterable[Path], sniff: Callable[[Path], bool]) -> Iterator[Finding]:
    """Files in class folders whose names are no image's; `sniff` tells whether the content is one all the same."""
    photos: list[Path] = []
    rest: list[Path] = []
    for path in others:
        (photos if path.suffix.lower() in _PHOTOS or sniff(path) else rest).append(path)
    if photos:
        message = f"images under names that are not read ({_suffixes(photos)}): convert or rename them."
        yield Finding("left out", "warning", tuple(photos), message)
    if rest:
        yield Finding("left out", "note", tuple(rest), f"no images ({_suffixes(rest)}): passed by.")


def _suffixes(paths: Iterable[Source]) -> str:
    counts = Counter(path.suffix.lower() or "without extension" for path in paths)
    return ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common())


def of_counts(counts: dict[str, dict[str, int]]) -> Iterator[Finding]:
    """Classes with few images, or many times the images of others, among those a network learns from."""
    learned = {name: n for name, n in counts.get("train", counts.get(ALL, {})).items() if n}
    if not learned:
        return
    most, least = (pick(learned, key=lambda name: learned[name]) for pick in (max, min))
    if learned[most] > MAX_IMBALANCE * learned[least]:
        ratio = f"{most!r} has {learned[most]:,} images, {least!r} {learned[least]:,}"
        message = f"{ratio}, {learned[most] / learned[least]:.0f} to 1: rare classes are learned poorly; add images."
        yield Finding("imbalance", "warning", (), message)
    if few := {name: n for name, n in learned.items() if n < MIN_IMAGES}:
        shown = ", ".join(f"{name} ({n})" for name, n in list(few.items())[:10]) + ", ..." * (len(few) > 10)
        yield Finding("few images", "warning", (), f"fewer than {MIN_IMAGES} images to learn from: {shown}.")


def of_copies(items: Sequence[Item], facts: Sequence[Facts], thumbs: Thumbs) -> Iterator[Finding]:
    """The same file, or the same picture, more than once."""
    whole = np.array([fact.error is None for fact in facts], bool)
    first: dict[bytes, int] = {}
    once, again = whole.copy(), []
    for i, fact in enumerate(facts):
        if whole[i] and (j := first.setdefault(fact.digest, i)) != i:
            once[i] = False  # stands for itself no more: the first one is compared for both
            again.append((j, i))
    same, mirrored = near_duplicates(thumbs, once)
    for i, j in again:
        same.join(i, j)
    for members in same.several():
        yield from _copies(items, facts, _closest_first(members, items, thumbs))
    for members in mirrored.several():
        yield _mirrored(items, members)


def _copies(items: Sequence[Item], facts: Sequence[Facts], members: Sequence[int]) -> Iterator[Finding]:
    splits = _counted(items[i].split for i in members)
    labels = _counted(items[i].label for i in members)
    paths = tuple(items[i].path for i in members)
    exact = len({facts[i].digest for i in members}) == 1
    what = "the same file" if exact else "near duplicates"
    if len(splits) > 1:
        where = " and ".join(f"{split} ({n})" for split, n in splits.items())
        message = f"{what} in {where}: the score counts images the network has learned; keep one side."
        yield Finding("leak", "fault", paths, message)
    if len(labels) > 1:
        message = f"{what} under {len(labels)} classes: {', '.join(labels)}; keep the right one."
        yield Finding("label conflict", "fault", paths, message)
    if len(splits) == 1 and len(labels) == 1:
        risk = "; val is taken from these images, copies may lie on both sides" if ALL in splits else ""
        within = f" in {label}" if (label := next(iter(labels))) else ""
        message = f"{what}, {len(members)} times{within}{risk}; keep one."
        yield Finding("duplicate" if exact else "near duplicate", "warning", paths, message)


def _mirrored(items: Sequence[Item], members: Sequence[int]) -> Finding:
    """Mirror images are no label conflict: left and right may be classes."""
    paths = tuple(items[i].path for i in members)
    splits = _counted(items[i].split for i in members)
    if len(splits) == 1:
        return Finding("mirrored copy", "note", paths, f"{len(members)} images that mirror each other.")
    message = f"mirror images in {' and '.join(splits)}: training flips images, the score counts what it has learned."
    return Finding("mirrored copy", "warning", paths, message)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


def _closest_first(members: Sequence[int], items: Sequence[Item], thumbs: Thumbs) -> list[int]:
    """A group with the two in front that are most alike, of two splits or classes where the group has both."""
    places = {items[i][1:]: i for i in reversed(members)}
    near = sorted({*members[:_MAX_CLOSEST], *places.values()})
    pairs = list(itertools.combinations(near, 2))
    if len(places) > 1:
        pairs = [(i, j) for i, j in pairs if items[i][1:] != items[j][1:]]
    pair = pairs[int(likeness(thumbs, thumbs, np.array(pairs)).argmax())]
    return [*pair, *(i for i in members if i not in pair)]
