"""Rows, nodes, and the one function between them. Standard library only."""

from mobilenets.table.graph import round_channels
from mobilenets.table.lower import lower
from mobilenets.table.nodes import INPUT, Node, outputs, row_of
from mobilenets.table.rows import Act, Network, Row, with_classes
from mobilenets.table.transforms import dilate, feature_strides, features, minimalistic, reduce_tail, scale

__all__ = [
    "INPUT",
    "Act",
    "Network",
    "Node",
    "Row",
    "dilate",
    "feature_strides",
    "features",
    "lower",
    "minimalistic",
    "outputs",
    "reduce_tail",
    "round_channels",
    "row_of",
    "scale",
    "with_classes",
]
