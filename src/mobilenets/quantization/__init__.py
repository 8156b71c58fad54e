"""How a network becomes int8: calibration, post-training quantization, quantization-aware training."""

from mobilenets.quantization.scheme import Calibration, Precision, Scheme

__all__ = ["Calibration", "Precision", "Scheme"]
