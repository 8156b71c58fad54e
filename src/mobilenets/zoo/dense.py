"""Dense-MobileNet: dense blocks of separable convolutions (Mobile Information Systems 2020, 7602384)."""

from __future__ import annotations

from mobilenets.table.rows import Act, Conv, DenseBlock, DepthwiseSeparable, Linear, Network, Pool

RE = Act.RELU


def _network(growth: int) -> Network:
    """Growth rate of the first dense block; it doubles where the resolution halves."""
    g = growth
    return Network(
        f"dense_mobilenet_{growth}",
        paper="Mobile Information Systems 2020, 7602384 (a public re-implementation)",
        bn_eps=1e-5,
        bn_momentum=0.1,
        errata=(
            "The paper's own tables of Dense1- and Dense2-MobileNet were not at hand: this is the layout of a public "
            "re-implementation, without its unused transition layers. Which of the two it stands for, and the paper's "
            "parameters and accuracies, are not known here. Whole separable convolutions are connected densely."
        ),
        rows=(
            Conv(3, 32, RE, 2),
            DepthwiseSeparable(3, 32, RE),
            DepthwiseSeparable(3, g, RE, 2),
            DenseBlock(3, g, 4, RE),
            DepthwiseSeparable(3, 2 * g, RE, 2),
            DenseBlock(3, 2 * g, 4, RE),
            DepthwiseSeparable(3, 4 * g, RE, 2),
            DenseBlock(3, 4 * g, 4, RE),
            DepthwiseSeparable(3, 1024, RE, 2),
            DepthwiseSeparable(3, 1024, RE),
            Pool(),
            Linear(1000),
        ),
    )


DENSE16, DENSE24, DENSE32 = _network(16), _network(24), _network(32)
