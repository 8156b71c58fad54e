"""The ONNX writer: nodes plus weights, without torch."""

from mobilenets.onnx.weights import chains_of, deployed_weight, fold, fold_branches, random_weights
from mobilenets.onnx.writer import IMAGE, PROBABILITIES, metadata, to_onnx

__all__ = [
    "IMAGE",
    "PROBABILITIES",
    "chains_of",
    "deployed_weight",
    "fold",
    "fold_branches",
    "metadata",
    "random_weights",
    "to_onnx",
]
