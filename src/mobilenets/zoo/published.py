"""ImageNet top-1 accuracies that papers and authors published, as data, and an estimate between and beyond them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from mobilenets.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Published:
    """One printed result, in the printed numbers (the counted ones are `costs.cost`'s).

    Attributes:
        network: name in the index.
        width: width multiplier.
        resolution: height and width of the input, in pixels.
        top1: ImageNet top-1 accuracy on the validation set, in percent, one crop, float where the source says nothing
            else. Recipes differ: MobileNetV4's trains V3-Large to 75.5, its own paper to 75.2.
        macs_m: multiply-accumulates as printed, in millions; None where the source prints none.
        params_m: parameters as printed, in millions; None where the source prints none.
        source: who printed it, and where.
    """

    network: str
    width: float
    resolution: int
    top1: float
    macs_m: float | None
    params_m: float | None
    source: str


_SLIM_V1 = "TF-slim nets/mobilenet_v1.md"
_SLIM = "TF-slim nets/mobilenet/README.md"
_V1 = "arXiv:1704.04861"
_V3 = "arXiv:1905.02244, Table 9"
_MNAS = "arXiv:1807.11626, Table 1"
_V4 = "arXiv:2404.10518, Table 6"
_TIMM = "timm, results-imagenet.csv"
_EDGETPU = "TensorFlow model garden, projects/edgetpu/vision (int8)"
_FORMER = "arXiv:2108.05895 (the authors' code, README)"
_ONE = "mmpretrain, configs/mobileone"


def _grid(
    network: str, source: str, *rows: tuple[float, int, float, float | None, float | None]
) -> tuple[Published, ...]:
    return tuple(Published(network, *row, source) for row in rows)


PUBLISHED: tuple[Published, ...] = (
    *_grid(
        "mobilenet_v1", _SLIM_V1,
        # width  resolution  top-1  macs M  params M; the paper prints 70.6 for the first (Table 4)
        (1.0, 224, 70.9, 569, 4.24), (1.0, 192, 70.0, 418, 4.24),
        (1.0, 160, 68.0, 291, 4.24), (1.0, 128, 65.2, 186, 4.24),
        (0.75, 224, 68.4, 317, 2.59), (0.75, 192, 67.2, 233, 2.59),
        (0.75, 160, 65.3, 162, 2.59), (0.75, 128, 62.1, 104, 2.59),
        (0.5, 224, 63.3, 150, 1.34), (0.5, 192, 61.7, 110, 1.34),
        (0.5, 160, 59.1, 77, 1.34), (0.5, 128, 56.3, 49, 1.34),
        (0.25, 224, 49.8, 41, 0.47), (0.25, 192, 47.7, 34, 0.47),
        (0.25, 160, 45.5, 21, 0.47), (0.25, 128, 41.5, 14, 0.47),
    ),
    *_grid("mobilenet_v1_full", f"{_V1}, Table 4", (1.0, 224, 71.7, 4866, 29.3)),
    *_grid("mobilenet_v1_shallow", f"{_V1}, Table 5", (1.0, 224, 65.3, 307, 2.9)),
    *_grid(
        "mobilenet_v2", _SLIM,
        (1.4, 224, 75.0, 582, 6.06), (1.3, 224, 74.4, 509, 5.34),
        (1.0, 224, 71.8, 300, 3.47), (1.0, 192, 70.7, 221, 3.47), (1.0, 160, 68.8, 154, 3.47),
        (1.0, 128, 65.3, 99, 3.47), (1.0, 96, 60.3, 56, 3.47),
        (0.75, 224, 69.8, 209, 2.61), (0.75, 192, 68.7, 153, 2.61), (0.75, 160, 66.4, 107, 2.61),
        (0.75, 128, 63.2, 69, 2.61), (0.75, 96, 58.8, 39, 2.61),
        (0.5, 224, 65.4, 97, 1.95), (0.5, 192, 63.9, 71, 1.95), (0.5, 160, 61.0, 50, 1.95),
        (0.5, 128, 57.7, 32, 1.95), (0.5, 96, 51.2, 18, 1.95),
        (0.35, 224, 60.3, 59, 1.66), (0.35, 192, 58.2, 43, 1.66), (0.35, 160, 55.7, 30, 1.66),
        (0.35, 128, 50.8, 20, 1.66), (0.35, 96, 45.5, 11, 1.66),
    ),
    *_grid(
        "mobilenet_v3_large", _V3,
        (1.25, 224, 76.6, 356, 7.5), (1.0, 224, 75.2, 217, 5.4), (0.75, 224, 73.3, 155, 4.0),
        (0.5, 224, 68.8, 69, 2.6), (0.35, 224, 64.2, 40, 2.2),
        (1.0, 256, 76.0, 282, 5.4), (1.0, 192, 73.7, 160, 5.4), (1.0, 160, 71.7, 112, 5.4),
        (1.0, 128, 68.4, 73, 5.4), (1.0, 96, 63.3, 43, 5.4),
    ),
    *_grid(
        "mobilenet_v3_small", _V3,
        (1.25, 224, 70.4, 91, 3.6), (1.0, 224, 67.5, 57, 2.5), (0.75, 224, 65.4, 44, 2.0),
        (0.5, 224, 58.0, 21, 1.6), (0.35, 224, 49.8, 12, 1.4),
        (1.0, 256, 68.5, 74, 2.5), (1.0, 160, 62.8, 30, 2.5), (1.0, 128, 57.3, 20, 2.5), (1.0, 96, 51.7, 12, 2.5),
    ),
    # the latest text dropped this row; the first printed it, with the parameters of an older last convolution
    *_grid("mobilenet_v3_small", f"{_V3} (first version)", (1.0, 192, 65.4, 42, 2.9)),
    *_grid("mobilenet_v3_large_minimalistic", _SLIM, (1.0, 224, 72.3, 209, 3.9)),
    *_grid("mobilenet_v3_small_minimalistic", _SLIM, (1.0, 224, 61.9, 65, 2.0)),
    *_grid("mnasnet_a1", _MNAS, (1.0, 224, 75.2, 312, 3.9)),
    *_grid("mnasnet_a1", _TIMM, (0.75, 224, 73.0, None, 2.91)),
    *_grid("mnasnet_b1", _MNAS, (1.0, 224, 74.5, 315, 4.4)),
    *_grid("mnasnet_small", "the authors' code, README", (1.0, 224, 66.0, 68, 2.0)),
    *_grid("mobilenet_edgetpu_v1", _EDGETPU, (1.0, 224, 75.6, None, None)),
    *_grid("mobilenet_edgetpu_v2_xs", _EDGETPU, (1.0, 224, 75.79, None, None)),
    *_grid("mobilenet_edgetpu_v2_s", _EDGETPU, (1.0, 224, 77.36, None, None)),
    *_grid("mobilenet_edgetpu_v2_m", _EDGETPU, (1.0, 224, 78.43, None, None)),
    *_grid("mobilenet_edgetpu_v2_m", _TIMM, (1.0, 256, 80.684, None, 8.46)),
    *_grid("mobilenet_edgetpu_v2_l", _EDGETPU, (1.0, 224, 79.0, None, None)),
    *_grid("mobilenet_v4_conv_small", _V4, (1.0, 224, 73.8, 200, 3.8)),
    *_grid("mobilenet_v4_conv_small", _TIMM, (1.0, 256, 74.534, None, 3.77), (0.5, 224, 64.778, None, 2.24)),
    *_grid("mobilenet_v4_conv_medium", _V4, (1.0, 256, 79.9, 1000, 9.2)),
    *_grid("mobilenet_v4_conv_medium", _TIMM, (1.0, 224, 79.092, None, 9.72)),
    *_grid("mobilenet_v4_conv_large", _V4, (1.0, 384, 82.9, 5900, 31.0)),
    *_grid("mobilenet_v4_conv_large", _TIMM, (1.0, 256, 81.864, None, 32.59)),
    *_grid("mobilenet_v4_hybrid_medium", _V4, (1.0, 256, 80.7, 1200, 10.5)),
    *_grid("mobilenet_v4_hybrid_medium", _TIMM, (1.0, 224, 80.432, None, 11.07)),
    *_grid("mobilenet_v4_hybrid_large", _V4, (1.0, 384, 83.4, 7200, 35.9)),
    *_grid("mobile_former_26m", _FORMER, (1.0, 224, 64.0, 26, 3.2)),
    *_grid("mobile_former_52m", _FORMER, (1.0, 224, 68.7, 52, 3.5)),
    *_grid("mobile_former_96m", _FORMER, (1.0, 224, 72.8, 96, 4.6)),
    *_grid("mobile_former_151m", _FORMER, (1.0, 224, 75.2, 151, 7.6)),
    *_grid("mobile_former_214m", _FORMER, (1.0, 224, 76.7, 214, 9.4)),
    *_grid("mobile_former_294m", _FORMER, (1.0, 224, 77.9, 294, 11.4)),
    *_grid("mobile_former_508m", _FORMER, (1.0, 224, 79.3, 508, 14.0)),
    *_grid("mobile_one_s0", _ONE, (1.0, 224, 71.34, 270, 2.08)),
    *_grid("mobile_one_s1", _ONE, (1.0, 224, 75.72, 820, 4.76)),
    *_grid("mobile_one_s2", _ONE, (1.0, 224, 77.37, 1300, 7.81)),
    *_grid("mobile_one_s3", _ONE, (1.0, 224, 78.06, 1890, 10.08)),
    *_grid("mobile_one_s4", _ONE, (1.0, 224, 79.69, 2980, 14.84)),
    *_grid("alexnet", f"{_V1}, Table 9", (1.0, 224, 57.2, 720, 60)),
    *_grid("vgg16", f"{_V1}, Table 8", (1.0, 224, 71.5, 15300, 138)),
    *_grid("googlenet", f"{_V1}, Table 8", (1.0, 224, 69.8, 1550, 6.8)),
    *_grid("squeezenet", f"{_V1}, Table 9", (1.0, 224, 57.5, 1700, 1.25)),
    *_grid("xception", "arXiv:1610.02357, Tables 1 and 3", (1.0, 299, 79.0, None, 22.855952)),
)  # fmt: skip
"""Every published row, as printed: misprints included (each network's `errata` names them)."""

_TOP1 = {(p.network, p.width, p.resolution): p.top1 for p in PUBLISHED}


def top1(network_name: str, width: float, resolution: int) -> float | None:
    """Published top-1 in percent of exactly this width and resolution; None where nobody published one."""
    return _TOP1.get((network_name, width, resolution))


# variant: (the network whose grid it follows, its top-1 at width 1.0, at which resolution, that network's @224 from the
# same training or one like it)
_VARIANTS: dict[str, tuple[str, float, int, float]] = {
    "mobilenet_v1_full": ("mobilenet_v1", 71.7, 224, 70.6),
    "mobilenet_v1_shallow": ("mobilenet_v1", 65.3, 224, 70.6),
    "mobilenet_v3_large_minimalistic": ("mobilenet_v3_large", 72.3, 224, 75.2),
    "mobilenet_v3_small_minimalistic": ("mobilenet_v3_small", 61.9, 224, 67.5),
    "mnasnet_a1": ("mobilenet_v3_large", 75.2, 224, 75.2),
    "mnasnet_b1": ("mobilenet_v3_large", 74.5, 224, 75.2),
    "mnasnet_small": ("mobilenet_v3_small", 66.0, 224, 67.5),
    # V4's recipe lifts V1 from 70.9 to 74.0 and V3-Large from 75.2 to 75.5 only: what V4 gains by it is taken for V1's,
    # whose parts it is made of (ReLU, no squeeze-and-excite)
    "mobilenet_v4_conv_small": ("mobilenet_v1", 73.8, 224, 74.0),
    "mobilenet_v4_conv_medium": ("mobilenet_v1", 79.9, 256, 74.0),
    "mobilenet_v4_conv_large": ("mobilenet_v1", 82.9, 384, 74.0),
    "mobilenet_v4_hybrid_medium": ("mobilenet_v1", 80.7, 256, 74.0),
    "mobilenet_v4_hybrid_large": ("mobilenet_v1", 83.4, 384, 74.0),
}

ESTIMATED = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", *_VARIANTS)
"""Networks that `estimate_top1` knows."""


def estimate_top1(network_name: str, width: float, resolution: int) -> float:
    """ImageNet top-1 in percent that a width and a resolution can be expected to reach: a smooth curve, not a promise.

    ln(top1 / (100 - top1)) = a + b width^-0.7 + c (resolution / 224)^-0.7, fitted per family by least squares. It
    rises with both everywhere. Mean absolute leave-one-out error over the published grids: V1 0.33 points, V2 0.45,
    V3-Large 0.21, V3-Small 0.76, all 58 rows 0.43 (worst: 1.79, V2 0.75 @96). A variant with few published rows is the
    curve of the family nearest to it, moved by the difference that was published.

    Raises:
        UnknownNameError: a network outside the MobileNet families.
    """
    if network_name not in ESTIMATED:
        raise UnknownNameError("MobileNet family", network_name, ESTIMATED, hint="No accuracy can be estimated for it.")
    family, own, at, theirs = _VARIANTS.get(network_name, (network_name, 50.0, 224, 50.0))
    a, b, c = _fitted(family)
    _, x, y = _features(width, resolution)
    moved = _logit(own) - _logit(theirs) - c * (_features(1.0, at)[2] - 1)
    return 100 / (1 + math.exp(-(a + b * x + c * y + moved)))


def _logit(percent: float) -> float:
    return math.log(percent / (100 - percent))


def _features(width: float, resolution: int) -> tuple[float, float, float]:
    # the exponent is the best of a grid in leave-one-out error; one for both keeps the curve plain
    return 1.0, width**-0.7, (resolution / 224) ** -0.7


@cache
def _fitted(family: str) -> tuple[float, ...]:
    return fit([p for p in PUBLISHED if p.network == family])


def fit(rows: list[Published]) -> tuple[float, ...]:
    """Coefficients a, b, c of `estimate_top1`'s curve by least squares over some published rows."""
    features = [_features(p.width, p.resolution) for p in rows]
    targets = [_logit(p.top1) for p in rows]
    normal = [[math.fsum(f[i] * f[j] for f in features) for j in range(3)] for i in range(3)]
    right = [math.fsum(f[i] * t for f, t in zip(features, targets, strict=True)) for i in range(3)]
    return _solve(normal, right)


def _solve(matrix: list[list[float]], right: list[float]) -> tuple[float, ...]:
    """Cramer's rule: three unknowns need no library."""
    whole = _determinant(matrix)
    columns = range(len(right))
    replaced = ([[right[i] if j == k else row[j] for j in columns] for i, row in enumerate(matrix)] for k in columns)
    return tuple(_determinant(m) / whole for m in replaced)


def _determinant(m: list[list[float]]) -> float:
    return (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
