"""What an int8 file computes inside, node by node, beside what its float file does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.model import MobileNet, arrays
from mobilenets.onnx import IMAGE, to_onnx
from mobilenets.onnx.calibration import Ranges, calibrate
from mobilenets.onnx.quantized import addresses_of, check_images, with_ranges
from mobilenets.precision import Scheme

Images = NDArray[np.uint8]
Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Twins:
    """A float file and what makes it int8.

    ONNX files both, whatever the format that is asked for: there every value can be looked at, and what int8 loses in
    one runtime it loses in the others.

    Attributes:
        proto: the float file.
        ranges: of its values on the calibration images.
        scheme: how int8 is made.
        written: each node's address with the name of the value that holds its result.
    """

    proto: Any
    ranges: Ranges
    scheme: Scheme
    written: dict[str, str]

    def int8(self, *, only: str | None = None) -> bytes:
        """The int8 file, or one in which only one node is."""
        return with_ranges(self.proto, self.ranges, self.scheme, only=only)


def twins(model: MobileNet, images: Images, scheme: Scheme) -> Twins:
    """Both files of a model, calibrated.

    Raises:
        MisuseError: no images, or images of another shape.
    """
    network, info = model.network, model.info
    check_images(images, (network.resolution, network.resolution, network.in_channels))
    proto = to_onnx(network, arrays(model), info.preprocessing, info.classes, task=info.task)
    return Twins(proto, calibrate(proto, images, scheme.calibration), scheme, addresses_of(proto))


def tapped(model: bytes | Any, values: Sequence[str]) -> Callable[[Images], list[Values]]:
    """Runs a file and gives values inside it, by name."""
    import onnx
    from mobilenets.runtime.onnxruntime import raw_session

    opened = onnx.ModelProto()
    opened.CopyFrom(onnx.load_from_string(model) if isinstance(model, bytes) else model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in values)
    session = raw_session(opened.SerializeToString())
    return lambda images: session.run(list(values), {IMAGE: images})


def batches(images: Images, size: int = 8) -> Iterator[Images]:
    """Images, few at a time."""
    return (images[start : start + size] for start in range(0, len(images), size))
