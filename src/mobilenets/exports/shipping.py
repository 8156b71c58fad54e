"""What a detector's or segmenter's file gets beside its network: post-processing, as `export` puts it inside."""

from __future__ import annotations

from mobilenets.exports.onnx_ import ended
from mobilenets.exports.postprocess import Postprocess
from mobilenets.latency.measure import Ending
from mobilenets.metrics import Task
from mobilenets.table.rows import Network


def ending_of(task: Task) -> Ending | None:
    """What puts a task's post-processing behind the raw outputs of ONNX files, so that it is timed with them."""
    return _shipped if task in ("detect", "segment") else None


def _shipped(data: bytes, network: Network) -> bytes:
    return ended(data, network, Postprocess())
