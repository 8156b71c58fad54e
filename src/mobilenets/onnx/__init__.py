"""The ONNX writer: nodes plus weights, without torch."""

from mobilenets.onnx.weights import chains_of, deployed_weight, fold, fold_branches, random_weights
from mobilenets.onnx.writer import IMAGE, metadata, to_onnx

__all__ = [
    "IMAGE",
    "chains_of",
    "deployed_weight",
    "fold",
    "fold_branches",
    "metadata",
    "random_weights",
    "to_onnx",
]
