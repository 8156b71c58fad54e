"""int8 that holds its accuracy: a ladder of techniques, each scored in the artifact's own runtime."""

from mobilenets.compression.quantize import quantize
from mobilenets.compression.work import Quantized

__all__ = ["Quantized", "quantize"]
