"""What a detector's or segmenter's file gets beside its network: post-processing, as `export` puts it inside."""

from __future__ import annotations

from mobilenets.exports.onnx_inside import add_postprocess
from mobilenets.exports.postprocess import Postprocess
from mobilenets.latency.measure import Ending
from mobilenets.metrics import Task
from mobilenets.table.rows import Network


def ending_of(task: Task) -> Ending | None:
    """What puts a task's post-processing behind the raw outputs of ONNX files, so that it is timed with them."""
    return ended if task in ("detect", "segment") else None


def ended(data: bytes, network: Network) -> bytes:
    """The bytes of a raw ONNX file with boxes or masks made inside."""
    import onnx

    proto = onnx.load_from_string(data)
    add_postprocess(proto, network, Postprocess())
    made: bytes = proto.SerializeToString()
    return made
