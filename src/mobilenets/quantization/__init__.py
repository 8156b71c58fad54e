"""How a network becomes int8: calibration, post-training quantization, quantization-aware training."""
