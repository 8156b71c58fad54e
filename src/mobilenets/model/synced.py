"""Batch norm over the batches of several processes: they then train as one process with the whole batch does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SyncedNorm(nn.BatchNorm2d):
    """Batch norm that takes its statistics over all processes, where `synced` is set and it trains.

    torch.nn.SyncBatchNorm does so on GPUs only.

    Shapes: (n, c, h, w) or (n, c); n may differ between processes.
    """

    synced = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values; updates the running statistics while training."""
        if not (self.synced and self.training):
            return super().forward(x)
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var, self.momentum, self.eps)
        result: Tensor = _Across.apply(x, self.weight, self.bias, *statistics)  # type: ignore[no-untyped-call]
        return result

    def _check_input_dim(self, input: Tensor) -> None:
        """A vector a sample is as good as a map."""


def synchronise(model: nn.Module, synced: bool = True) -> None:
    """Let all batch norms of a model take their statistics over all processes, or each over its own."""
    for module in model.modules():
        if isinstance(module, SyncedNorm):
            module.synced = synced


class _Across(torch.autograd.Function):
    """Batch norm with the mean and variance of all processes' values, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float,
        eps: float,
    ) -> Tensor:  # fmt: skip
        axes = [a for a in range(x.ndim) if a != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        local_var, local_mean = torch.var_mean(x.float(), axes, correction=0)
        n = x.numel() // x.shape[1]
        # sums in float64: the variance is what is left of a difference
        mean64, square64 = local_mean.double(), local_var.double() + local_mean.double() ** 2
        sums = torch.cat([n * mean64, n * square64, mean64.new_tensor([n])])
        distributed.all_reduce(sums)
        total, channels = sums[-1], x.shape[1]
        mean = sums[:channels] / total
        variance = (sums[channels:-1] / total - mean**2).clamp(min=0)
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * total / (total - 1)).to(running_var.dtype), momentum)
        scale = (variance + eps).rsqrt().to(x.dtype)
        normed = (x - mean.to(x.dtype).view(shape)) * scale.view(shape)
        ctx.save_for_backward(normed, weight, scale, total)
        return normed * weight.view(shape) + bias.view(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        normed, weight, scale, total = ctx.saved_tensors
        axes = [a for a in range(gradient.ndim) if a != 1]
        shape = [1, -1] + [1] * (gradient.ndim - 2)
        for_bias, for_weight = gradient.sum(axes), (gradient * normed).sum(axes)
        sums = torch.stack([for_bias, for_weight]).double()
        distributed.all_reduce(sums)
        mean, slope = (sums / total).to(gradient.dtype)
        inner = gradient - mean.view(shape) - normed * slope.view(shape)
        return inner * (weight * scale).view(shape), for_weight, for_bias, None, None, None, None
