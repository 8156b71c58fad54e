"""Non-linearities by the names that tables give them."""

from __future__ import annotations

from enum import StrEnum


class Act(StrEnum):
    """Non-linearity, the NL column of MobileNetV3's tables."""

    NONE = "identity"
    RELU = "relu"
    RELU6 = "relu6"
    HSWISH = "hard_swish"
    HSIGMOID = "hard_sigmoid"
    SIGMOID = "sigmoid"
    GELU = "gelu"
