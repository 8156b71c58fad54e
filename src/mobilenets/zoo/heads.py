"""Detection and segmentation heads on any backbone: SSD, SSDLite, DeepLabv3, R-ASPP, LR-ASPP.

A head is rows after the backbone's. Where it reads is a matter of strides, so every network can carry every head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mobilenets.table.graph import round_channels
from mobilenets.table.rows import Act, Aspp, BoxPredictor, ExtraFeatures, LiteAspp, Network, PlainConv, Row, Upsample
from mobilenets.table.transforms import dilate, feature_strides, features

R6 = Act.RELU6
TAP = 16
"""Stride of the first feature map that detectors read (V1 and V2: 16 and 32; V3: C4 and C5)."""
ANCHORS = (3, 6, 6, 6, 6, 6)
"""TF's: three on the first map, six on the others."""
EXTRAS = (512, 512, 256, 256, 128)
"""Outputs of the extra feature layers; the first is left out where the backbone has stride 32."""

COCO_CLASSES, VOC_CLASSES = 80, 21


def ssd(
    backbone: Network, classes: int = COCO_CLASSES, *, kernel: int = 3, anchors: tuple[int, ...] = ANCHORS
) -> Network:
    """SSD with regular convolutions in extra and prediction layers (arXiv 1512.02325).

    Scale the detector, not the backbone, and its extra layers scale too, as TensorFlow's do.

    Args:
        backbone: its output stride is undone.
        classes: without a background: every class has its own sigmoid.
        kernel: of the prediction layers. 3 reproduces V2's Table 5; 1 is that of TF's ssd_mobilenet_v1 and reproduces
            V1's Table 13.
        anchors: how many a place has, map by map.
    """
    rows = (*_extras(backbone, len(anchors), lite=False), BoxPredictor(kernel, classes, anchors))
    return _detector("ssd", "arXiv:1512.02325", backbone, rows)


def ssdlite(backbone: Network, classes: int = COCO_CLASSES, *, anchors: tuple[int, ...] = ANCHORS) -> Network:
    """SSDLite: SSD with separable convolutions in extra and prediction layers (V2, section 6.2).

    Arguments as `ssd`'s. V3's halved channels between C4 and C5 are `reduce_tail`'s.
    """
    rows = (*_extras(backbone, len(anchors), lite=True), BoxPredictor(3, classes, anchors, lite=True))
    return _detector("ssdlite", "arXiv:1801.04381, section 6.2", backbone, rows)


def _extras(backbone: Network, maps: int, *, lite: bool) -> tuple[Row, ...]:
    found = sum(stride >= TAP for stride in feature_strides(features(replace(backbone, output_stride=None))))
    outs = EXTRAS[found - 1 :][: maps - found]
    return tuple(ExtraFeatures(round_channels(out * backbone.width, backbone.divisor), R6, lite=lite) for out in outs)


def _detector(head: str, paper: str, backbone: Network, rows: tuple[Row, ...]) -> Network:
    base = replace(features(backbone), output_stride=None)
    return _joined(head, paper, backbone, replace(base, rows=base.rows + rows))


def _joined(head: str, paper: str, backbone: Network, network: Network) -> Network:
    return replace(network, name=f"{head}_{backbone.name}", paper=f"{paper}; {backbone.paper}", backbone=backbone.name)


def deeplabv3(
    backbone: Network,
    classes: int = VOC_CLASSES,
    *,
    output_stride: int = 16,
    atrous: bool = True,
    pooling: bool = True,
    filters: int = 256,
) -> Network:
    """DeepLabv3 (arXiv 1706.05587; V2, section 6.3): atrous spatial pyramid pooling, classifier, upsampling.

    Args:
        backbone: read at its last block, as V2's Table 7 recommends, or at the last convolution before the pooling
            where that is an expansion (V3).
        classes: the background is one of them.
        output_stride: 16, or 8; the rates of the pyramid double at 8.
        atrous: with the pyramid's 3x3 convolutions, or without (V2's choice for mobile).
        pooling: with the branch of the image's mean.
        filters: channels of each branch.
    """
    rates = (6, 12, 18) if atrous else ()
    return _aspp("deeplabv3", "arXiv:1706.05587", backbone, classes, output_stride, Aspp(filters, rates, pooling))


def raspp(backbone: Network, classes: int = VOC_CLASSES, *, output_stride: int = 16, filters: int = 256) -> Network:
    """R-ASPP: the 1x1 convolution and the image's mean (V3, section 6.4; in V2, DeepLabv3 without ASPP)."""
    return _aspp("raspp", "arXiv:1905.02244, section 6.4", backbone, classes, output_stride, Aspp(filters, ()))


def _aspp(head: str, paper: str, backbone: Network, classes: int, output_stride: int, row: Aspp) -> Network:
    return _segmenter(head, paper, backbone, output_stride, (row, PlainConv(1, classes, 1, 0, Act.NONE)))


def lraspp(backbone: Network, classes: int = VOC_CLASSES, *, output_stride: int = 16, filters: int = 128) -> Network:
    """LR-ASPP (V3, section 6.4, Figure 10), which also reads the first features of stride 8.

    Arguments as `deeplabv3`'s. V3's halved last block is `reduce_tail`'s.
    """
    rows = (LiteAspp(filters, classes),)
    return _segmenter("lraspp", "arXiv:1905.02244, section 6.4", backbone, output_stride, rows)


def _segmenter(head: str, paper: str, backbone: Network, output_stride: int, rows: tuple[Row, ...]) -> Network:
    base = features(backbone, blocks=not backbone.expansion_head)
    return dilate(_joined(head, paper, backbone, replace(base, rows=(*base.rows, *rows, Upsample()))), output_stride)


@dataclass(frozen=True, slots=True)
class Head:
    """A head by name: what builds it, and the resolution that its paper trains at, in pixels."""

    build: Callable[[Network], Network]
    resolution: int


HEADS: dict[str, Head] = {
    "ssd": Head(ssd, 300),
    "ssdlite": Head(ssdlite, 320),
    "deeplabv3": Head(deeplabv3, 512),
    "raspp": Head(raspp, 512),
    "lraspp": Head(lraspp, 512),
}
"""Heads by the name that comes first: `ssdlite_mobilenet_v2` is SSDLite on MobileNetV2."""


def with_head(name: str, backbone: Network) -> Network:
    """A backbone with the head of a name, at the head's resolution."""
    head = HEADS[name]
    return replace(head.build(backbone), resolution=head.resolution)
