"""Published scores of detectors and segmenters, and what they say of heads on other widths and resolutions."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Literal

from mobilenets.table.rows import Network
from mobilenets.zoo.published import estimate_top1

_V2_COCO = "arXiv:1801.04381, Table 6"
_V3_COCO = "arXiv:1905.02244, Table 6"
_V3_CITY = "arXiv:1905.02244, Table 7"
_V3_STRIDE = "arXiv:1905.02244, Table 8"

HeadTask = Literal["detect", "segment"]

NATIVE: dict[HeadTask, int] = {"detect": 320, "segment": 512}
"""Resolution in pixels at which a head's objects are as large as a classifier's at 224."""


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """One printed row.

    Attributes:
        head: its name in `HEADS`.
        backbone: name in the index.
        width: of the backbone.
        output_stride: of a segmenter; None of a detector.
        score: percent: AP on COCO of a detector at 320 px, mIoU on Cityscapes of a segmenter at 1024 x 2048.
        source: where it is printed.
    """

    head: str
    backbone: str
    width: float
    output_stride: int | None
    score: float
    source: str

    @property
    def task(self) -> HeadTask:
        """What the head gives."""
        return "detect" if self.head.startswith("ssd") else "segment"


PUBLISHED_HEADS: tuple[PublishedHead, ...] = (
    PublishedHead("ssdlite", "mobilenet_v1", 1.0, None, 22.2, _V2_COCO),
    PublishedHead("ssdlite", "mobilenet_v2", 1.0, None, 22.1, _V2_COCO),
    PublishedHead("ssdlite", "mobilenet_v2", 0.5, None, 16.6, _V3_COCO),
    PublishedHead("ssdlite", "mobilenet_v2", 0.35, None, 13.7, _V3_COCO),
    PublishedHead("ssdlite", "mnasnet_b1", 1.0, None, 23.0, _V3_COCO),
    PublishedHead("ssdlite", "mnasnet_b1", 0.5, None, 18.5, _V3_COCO),
    PublishedHead("ssdlite", "mnasnet_b1", 0.35, None, 15.6, _V3_COCO),
    PublishedHead("ssdlite", "mobilenet_v3_large", 1.0, None, 22.0, _V3_COCO),
    PublishedHead("ssdlite", "mobilenet_v3_small", 1.0, None, 16.1, _V3_COCO),
    PublishedHead("raspp", "mobilenet_v2", 1.0, 16, 72.84, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v2", 1.0, 16, 72.74, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v2", 0.5, 16, 68.57, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v2", 0.35, 16, 66.83, _V3_CITY),
    PublishedHead("raspp", "mobilenet_v3_large", 1.0, 16, 72.64, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v3_large", 1.0, 16, 72.36, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v3_small", 1.0, 16, 68.38, _V3_CITY),
    PublishedHead("lraspp", "mobilenet_v3_large", 1.0, 32, 72.0, _V3_STRIDE),
    PublishedHead("lraspp", "mobilenet_v3_small", 1.0, 32, 68.3, _V3_STRIDE),
)
"""Of networks that are considered. The papers' LR-ASPP has halved last blocks, which cost 0 to 0.7 points there."""

STRIDE = 0.04
"""What an output stride half as large adds, in ln(mIoU / (100 - mIoU)): 0.6 and 1.1 points in V3's Table 8."""


def estimate_score(network: Network) -> float:
    """Percent of COCO's AP (320 px) or Cityscapes' mIoU that a detector or segmenter can be expected to reach.

    A prior for ranking, no promise. ln(score / (100 - score)) = family + slope x the same of the backbone's ImageNet
    top-1 at the resolution that shows objects as large (`NATIVE`), by least squares over the published rows of a task;
    mean absolute error of those: 0.2 points. A family without a row has the lowest family's, as newer recipes lift the
    top-1 more than what follows from it.

    Raises:
        UnknownNameError: a backbone outside the MobileNet families.
    """
    task: HeadTask = "detect" if network.task == "detect" else "segment"
    slope, families = _fitted(task)
    size = max(1, round(network.resolution * 224 / NATIVE[task]))
    family = families.get(network.backbone, min(families.values()))
    finer = STRIDE * math.log2(16 / (network.output_stride or 32)) if task == "segment" else 0.0
    found = family + finer + slope * _logit(estimate_top1(network.backbone, network.width, size))
    return 100 / (1 + math.exp(-found))


@cache
def _fitted(task: HeadTask) -> tuple[float, dict[str, float]]:
    """The slope, and the constant of each family."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in PUBLISHED_HEADS:
        if row.task == task:
            finer = STRIDE * math.log2(16 / (row.output_stride or 16))
            top1 = estimate_top1(row.backbone, row.width, 224)
            points[row.backbone].append((_logit(top1), _logit(row.score) - finer))
    means = {name: tuple(math.fsum(v) / len(v) for v in zip(*of, strict=True)) for name, of in points.items()}
    inside = [(x - means[name][0], y - means[name][1]) for name, of in points.items() for x, y in of]
    slope = math.fsum(x * y for x, y in inside) / math.fsum(x * x for x, _ in inside)
    return slope, {name: y - slope * x for name, (x, y) in means.items()}


def _logit(percent: float) -> float:
    return math.log(percent / (100 - percent))
