"""The ONNX writer: nodes plus weights, without torch."""

from mobilenets.onnx.weights import fold, fold_branches, random_weights
from mobilenets.onnx.writer import IMAGE, PROBABILITIES, to_onnx

__all__ = ["IMAGE", "PROBABILITIES", "fold", "fold_branches", "random_weights", "to_onnx"]
