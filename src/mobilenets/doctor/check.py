"""A data set to everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

import numpy as np

from mobilenets.data.annotations import Boxes
from mobilenets.data.decode import prepare
from mobilenets.data.listing import Listing
from mobilenets.doctor import rules
from mobilenets.doctor.annotations import Marked, annotation_findings, counts_of, examine_masks
from mobilenets.doctor.copies import Thumbs
from mobilenets.doctor.examine import THUMB_PX, Facts, examine, looks_like_image
from mobilenets.doctor.findings import Report, worst_first
from mobilenets.doctor.survey import Item, Survey, layout_findings, survey
from mobilenets.errors import MisuseError
from mobilenets.metrics import Task
from mobilenets.processors import processors

Progress = Callable[[int, int], None]

_CHUNK = 64  # files a task: enough to hide what a task costs, few enough for smooth progress


def check(
    data: str | Path,
    *,
    resolution: int = 224,
    workers: int | None = None,
    on_progress: Progress | None = None,
    found: Survey | None = None,
    task: Task | None = None,
) -> Report:
    """Look at every image of a data set. Nothing is changed; only a hash and a thumbnail of each image is kept.

    Args:
        data: a folder of class folders, with or without splits, boxes or masks, or another data set that `open_folder`
            reads.
        resolution: input of the network that is to be trained, in pixels.
        workers: decoding threads; all processors when None.
        on_progress: called as (images done, images in all) from the calling thread, then likewise for masks.
        found: the survey of `data` where it is made already.
        task: what is checked where there are both boxes and masks (boxes when None).

    Raises:
        MisuseError: no such folder, no labelled image in it, a resolution below 1, or not labelled for `task`.
    """
    if resolution < 1:
        raise MisuseError(f"`resolution` (={resolution}) must be at least 1 pixel, such as 224.")
    found = found or survey(data, task)
    facts, thumbs = examine_all(found.items, workers or processors(), on_progress)
    sizes = Counter(item.split for item in found.items)
    findings = [
        *layout_findings(found),
        *rules.of_files(found.items, facts, thumbs, resolution, cropped=found.listing is None),
        *rules.of_others(found.others, looks_like_image),
        *rules.of_copies(found.items, facts, thumbs),
    ]
    if found.listing is None:
        counts = _counts(found)
        findings += rules.of_counts(counts)
        return Report(found.root, resolution, counts, worst_first(findings), found.task, sizes)
    images = _marked(found.listing, found.items, facts, workers, on_progress)
    counts = counts_of(found.listing, images)
    findings += annotation_findings(found.listing, images, counts, resolution)
    truth = {image.item.path: image.truth for image in images}
    return Report(found.root, resolution, counts, worst_first(findings), found.listing.task, sizes, truth)


def _marked(
    listing: Listing, items: Sequence[Item], facts: Sequence[Facts], workers: int | None, on_progress: Progress | None
) -> list[Marked]:
    truths = [truth for entries in listing.splits.values() for entry in entries if (truth := entry.truth) is not None]
    masks = [truth for truth in truths if not isinstance(truth, Boxes)]
    seen = examine_masks(masks, workers, on_progress) if masks else [None] * len(truths)
    return [Marked(*each) for each in zip(items, facts, truths, seen, strict=True)]


def _counts(found: Survey) -> dict[str, dict[str, int]]:
    counts = {split: dict.fromkeys(names, 0) for split, names in found.classes.items()}
    for item in found.items:
        counts[item.split][item.label] += 1
    return counts


def examine_all(items: Sequence[Item], workers: int, on_progress: Progress | None) -> tuple[list[Facts], Thumbs]:
    """Facts and thumbnails of all images, in their order; the thumbnail of an unreadable one is black."""
    prepare()
    stop, total, done = Event(), len(items), 0
    facts = [Facts(b"")] * total
    thumbs: Thumbs = np.zeros((total, THUMB_PX, THUMB_PX, 3), np.uint8)

    def task(indices: range) -> int:
        for i in indices:
            if stop.is_set():
                break
            facts[i], thumb = examine(items[i].path)
            if thumb is not None:
                thumbs[i] = thumb
        return len(indices)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="check")
    try:
        tasks = [pool.submit(task, range(i, min(i + _CHUNK, total))) for i in range(0, total, _CHUNK)]
        for finished in as_completed(tasks):
            done += finished.result()
            if on_progress is not None:
                on_progress(done, total)
    finally:  # also on Ctrl-C: each thread ends after the image it is at
        stop.set()
        pool.shutdown(cancel_futures=True)
    return facts, thumbs
