"""Features that should be the teacher's: pairs of nodes by name, a 1x1 convolution between where widths differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.model import MobileNet, normalise


class Matching(nn.Module):
    """A student that shows some of its features beside its logits, and what they are compared with.

    FitNets (arXiv:1412.6550), with features normalised per position as in attention transfer, so that the two
    networks' scales do not matter.

    Args:
        student: what is trained.
        teacher: what it should resemble; never trained.
        pairs: student's node name -> teacher's.

    Raises:
        UnknownNameError: no such node.
        MisuseError: a node whose values are no map of channels.
    """

    def __init__(self, student: MobileNet, teacher: MobileNet, pairs: Mapping[str, str]) -> None:
        super().__init__()
        self.student, self.pairs = student, dict(pairs)
        self.adapters = nn.ModuleList()
        for ours, theirs in self.pairs.items():
            self.adapters.append(nn.Conv2d(_channels(student, ours), _channels(teacher, theirs), 1, bias=False))
        teacher.eval().requires_grad_(False)
        self._teacher = [teacher]  # in a list: no submodule, so that neither optimiser nor checkpoint sees it

    def forward(self, x: Tensor) -> tuple[Any, list[Tensor]]:
        """(what the student says, adapted features) of normalised images n c h w."""
        values = self.student.taps(x, [*self.pairs, *self.student.ends])
        features = [adapt(values[name]) for adapt, name in zip(self.adapters, self.pairs, strict=True)]
        return self.student.answer(values), features

    def loss(self, features: list[Tensor], images: Tensor) -> Tensor:
        """Mean squared difference from the teacher's features on the same images (n c h w in [0, 1])."""
        teacher = self._teacher[0].to(images.device)
        size = teacher.network.resolution
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        with torch.no_grad():
            values = teacher.taps(normalise(images, teacher.info.preprocessing), self.pairs.values())
        parts = []
        for feature, name in zip(features, self.pairs.values(), strict=True):
            wanted = F.adaptive_avg_pool2d(values[name], (feature.shape[-2], feature.shape[-1]))
            parts.append((F.normalize(feature, dim=1) - F.normalize(wanted, dim=1)).square().sum(1).mean())
        return torch.stack(parts).mean()


def _channels(model: MobileNet, name: str) -> int:
    nodes = {node.name: node for node in model.nodes}
    if name not in nodes:
        raise UnknownNameError("node", name, nodes, hint=f"`print(model)` shows those of {model.network.label}.")
    if len(nodes[name].shape) != 3:
        raise MisuseError(f"{name} of {model.network.label} is no map of channels: its shape is {nodes[name].shape}.")
    return nodes[name].shape[0]
