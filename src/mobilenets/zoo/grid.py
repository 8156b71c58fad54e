"""The grid that a search considers and latency tables are built from: families, heads, widths, resolutions."""

from __future__ import annotations

from mobilenets.metrics import Task
from mobilenets.table.rows import Network
from mobilenets.table.transforms import dilate, reduce_tail
from mobilenets.zoo import FAMILIES, INDEX
from mobilenets.zoo.heads import lraspp, raspp, ssdlite

WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25)
_SQUARES = (96, 128, 160, 192, 224)
RESOLUTIONS: dict[Task, tuple[int, ...]] = {
    "classify": _SQUARES,
    "multi-label": _SQUARES,
    "detect": (128, 160, 192, 256, 320),
    "segment": (128, 192, 256, 384, 512),
}
"""In pixels, by task; the last are those that the papers' detectors and segmenters are trained at."""


def bodies(task: Task, family: str) -> tuple[Network, ...]:
    """The networks of a family at width 1.0 that answer a task.

    Detectors carry SSDLite; V3's have half the channels between C4 and C5 (V3, Table 6: the same AP, a quarter less
    time). Segmenters carry LR-ASPP or R-ASPP at output stride 16, or LR-ASPP at 8. SSD, and DeepLabv3's whole pyramid,
    cost a multiple for less than half a point (V2, Tables 6 and 7).
    """
    backbone = INDEX[family]
    match task:
        case "detect":
            return (ssdlite(reduce_tail(backbone) if backbone.expansion_head else backbone),)
        case "segment":
            return lraspp(backbone), raspp(backbone), dilate(lraspp(backbone), 8)
        case _:
            return (backbone,)


def families(task: Task) -> list[Network]:
    """All bodies of a task."""
    return [body for family in FAMILIES for body in bodies(task, family)]
