"""Post-processing behind the raw outputs of an ONNX file: boxes decoded and suppressed, or each pixel's class.

It stays in float whatever the network's precision is: what is added here is added after the network was quantized. All
operators are the standard's, the batch stays free, and the number of boxes is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.exports.postprocess import Postprocess, described
from mobilenets.heads import anchors
from mobilenets.heads.boxes import POSITION, SIZE
from mobilenets.heads.detections import CANDIDATES
from mobilenets.onnx.writer import SOFTMAX
from mobilenets.outputs import BOXES, CLASSES, COUNT, INSIDE, MASK, PROBABILITIES, SCORES
from mobilenets.table.lower import lower
from mobilenets.table.rows import Network


def add_postprocess(proto: Any, network: Network, chosen: Postprocess) -> None:
    """Put post-processing behind a raw detector or segmenter, in place, and say so in its metadata.

    Shapes:
        detector: `boxes` (n, most, 4), x0 y0 x1 y1 in parts of width and height, `scores` and `classes` (n, most),
        `count` (n,); `most` is less where the network has fewer pairs of anchor and class. Segmenter: `mask` (n, h, w).

    Raises:
        MisuseError: a segmenter of more classes than uint8 can tell apart.
    """
    import onnx

    tail = _Tail(proto)
    if network.task == "detect":
        _detections(tail, network, chosen)
    else:
        _mask(tail, network)
    said = {entry.key: entry.value for entry in proto.metadata_props} | described(network, chosen)
    onnx.helper.set_model_props(proto, said)


@dataclass
class _Tail:
    """What is added to a file."""

    proto: Any

    def op(self, kind: str, inputs: Iterable[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        output = name if name in (BOXES, SCORES, CLASSES, COUNT, MASK) else f"{INSIDE}.{name}"
        made = helper.make_node(kind, list(inputs), [output], name=output, **attributes)
        self.proto.graph.node.append(made)
        return output

    def ops(self, kind: str, inputs: Iterable[str], *names: str, **attributes: Any) -> list[str]:
        """An operator of several outputs."""
        from onnx import helper

        outputs = [f"{INSIDE}.{name}" for name in names]
        self.proto.graph.node.append(helper.make_node(kind, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{INSIDE}.{name}"))
        return f"{INSIDE}.{name}"

    def raw(self, name: str) -> str:
        """A raw output under another name, so that what is added may have its own."""
        inner = f"{INSIDE}.raw_{name}"
        for node in self.proto.graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if value == name else value for value in names]
            if node.name == name:
                node.name = inner
        return inner

    def outputs(self, values: dict[str, tuple[int, tuple[int, ...]]]) -> None:
        """Replace the file's outputs: (type, shape without the batch) by name."""
        from onnx import helper

        del self.proto.graph.output[:]
        for name, (kind, shape) in values.items():
            self.proto.graph.output.append(helper.make_tensor_value_info(name, kind, ["n", *shape]))


def _detections(tail: _Tail, network: Network, chosen: Postprocess) -> None:
    """The walk of `heads.detections`: the best pairs, decoded, suppressed class by class, the best of what is left."""
    from onnx import TensorProto

    places = anchors(network)
    pairs = len(places) * network.classes
    looked, most = min(max(CANDIDATES, chosen.most), pairs), min(chosen.most, pairs)
    codes, scores = tail.raw(BOXES), tail.raw(SCORES)
    flat = tail.op("Reshape", [scores, tail.constant("pairs", np.array([0, pairs]))], "flat")
    best, at = tail.ops("TopK", [flat, tail.constant("looked", np.array([looked]))], "best", "at", axis=1)
    count = tail.constant("class_count", np.array(network.classes))
    label, place = tail.op("Mod", [at, count], "label"), tail.op("Div", [at, count], "place")
    boxes = _decoded(tail, codes, place, places)
    kept = _kept(tail, boxes, best, label, network.classes, looked, chosen)
    left = tail.op("Where", [kept, best, tail.constant("none", np.float32(-1))], "left")
    top, index = tail.ops("TopK", [left, tail.constant("most", np.array([most]))], "top", "index", axis=1)
    real = tail.op("GreaterOrEqual", [top, tail.constant("zero", np.float32(0))], "real")
    tail.op("Max", [top, f"{INSIDE}.zero"], SCORES)
    labels = tail.op("GatherElements", [label, index], "labels", axis=1)
    tail.op("Where", [real, labels, tail.constant("no_class", np.int64(0))], CLASSES)
    last = tail.constant("last", np.array([2]))
    corners = tail.op("GatherND", [boxes, tail.op("Unsqueeze", [index, last], "index_nd")], "corners", batch_dims=1)
    counted = tail.op("Cast", [real], "real_float", to=TensorProto.FLOAT)
    tail.op("Mul", [corners, tail.op("Unsqueeze", [counted, last], "real_nd")], BOXES)
    whole = tail.op("Cast", [real], "real_int", to=TensorProto.INT64)
    tail.op("ReduceSum", [whole, tail.constant("second", np.array([1]))], COUNT, keepdims=0)
    tail.outputs(
        {
            BOXES: (TensorProto.FLOAT, (most, 4)),
            SCORES: (TensorProto.FLOAT, (most,)),
            CLASSES: (TensorProto.INT64, (most,)),
            COUNT: (TensorProto.INT64, ()),
        }
    )


def _decoded(tail: _Tail, codes: str, place: str, places: NDArray[np.float32]) -> str:
    """The candidates' boxes, x0 y0 x1 y1 within the image: (n, k, 4)."""
    nd = tail.op("Unsqueeze", [place, tail.constant("code_axis", np.array([2]))], "place_nd")
    picked = tail.op("GatherND", [codes, nd], "codes", batch_dims=1)
    anchor = tail.op("Gather", [tail.constant("anchors", places), place], "anchor", axis=0)
    halves = tail.constant("halves", np.array([2, 2]))
    near, size = tail.ops("Split", [picked, halves], "code_centre", "code_size", axis=2)
    centre, side = tail.ops("Split", [anchor, halves], "anchor_centre", "anchor_size", axis=2)
    moved = tail.op(
        "Mul", [tail.op("Div", [near, tail.constant("position", np.float32(POSITION))], "near"), side], "off"
    )
    middle = tail.op("Add", [moved, centre], "centre")
    grown = tail.op("Exp", [tail.op("Div", [size, tail.constant("size", np.float32(SIZE))], "log_size")], "grown")
    half = tail.op(
        "Mul", [tail.op("Mul", [grown, side], "sides"), tail.constant("half", np.float32(0.5))], "half_sides"
    )
    low, high = tail.op("Sub", [middle, half], "low"), tail.op("Add", [middle, half], "high")
    joined = tail.op("Concat", [low, high], "joined", axis=2)
    ends = tail.constant("edge_low", np.float32(0)), tail.constant("edge_high", np.float32(1))
    return tail.op("Clip", [joined, *ends], "candidates")


def _kept(tail: _Tail, boxes: str, best: str, label: str, classes: int, looked: int, chosen: Postprocess) -> str:
    """Which candidates stay: bool (n, k). Each has one class, and counts in no other."""
    from onnx import TensorProto

    middle = tail.constant("middle", np.array([1]))
    own = tail.op("Unsqueeze", [label, middle], "own")  # n 1 k
    every = tail.constant("every_class", np.arange(classes).reshape(1, -1, 1))
    enough = tail.op("GreaterOrEqual", [best, tail.constant("least", np.float32(chosen.score))], "enough")
    counted = tail.op(
        "And",
        [tail.op("Equal", [own, every], "is_own"), tail.op("Unsqueeze", [enough, middle], "enough_nd")],
        "counted",
    )
    likely = tail.op("Unsqueeze", [best, middle], "likely")
    by_class = tail.op("Where", [counted, likely, tail.constant("never", np.float32(-1))], "by_class")  # n classes k
    limits = [
        tail.constant("most_of_class", np.array([min(chosen.most, looked)])),
        tail.constant("overlap", np.array([chosen.overlap], np.float32)),
        tail.constant("beyond", np.array([-0.5], np.float32)),
    ]
    chosen_ones = tail.op("NonMaxSuppression", [boxes, by_class, *limits], "selected")  # image, class, candidate
    spots = tail.op("Gather", [chosen_ones, tail.constant("image_and_box", np.array([0, 2]))], "spots", axis=1)
    nothing = tail.op("Mul", [label, tail.constant("nought", np.int64(0))], "nothing")
    first = tail.op("Gather", [spots, tail.constant("image_only", np.array(0))], "first", axis=1)
    ones = tail.op(
        "Add", [tail.op("Mul", [first, f"{INSIDE}.nought"], "noughts"), tail.constant("one", np.int64(1))], "ones"
    )
    return tail.op("Cast", [tail.op("ScatterND", [nothing, spots, ones], "marked")], "kept", to=TensorProto.BOOL)


def _mask(tail: _Tail, network: Network) -> None:
    """The most probable class of each pixel, from what softmax would read."""
    from onnx import TensorProto

    if network.classes > 256:
        raise MisuseError(
            f"{network.name}: a mask holds at most 256 classes, the network has {network.classes}: export it raw."
        )
    logits = lower(network)[-1].name
    for node in [n for n in tail.proto.graph.node if n.name == PROBABILITIES or n.name.startswith(f"{SOFTMAX}.")]:
        tail.proto.graph.node.remove(node)  # the largest value is found without them
    read = {name for node in tail.proto.graph.node for name in node.input}
    for stored in [s for s in tail.proto.graph.initializer if s.name not in read]:
        tail.proto.graph.initializer.remove(stored)  # runtimes warn of what nobody reads
    index = tail.op("ArgMax", [logits], "index", axis=1, keepdims=0)
    tail.op("Cast", [index], MASK, to=TensorProto.UINT8)
    tail.outputs({MASK: (TensorProto.UINT8, (network.resolution, network.resolution))})
