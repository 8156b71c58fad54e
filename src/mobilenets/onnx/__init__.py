"""The ONNX writer: nodes plus weights, without torch."""

from mobilenets.onnx.writer import IMAGE, PROBABILITIES, fold, random_weights, to_onnx

__all__ = ["IMAGE", "PROBABILITIES", "fold", "random_weights", "to_onnx"]
