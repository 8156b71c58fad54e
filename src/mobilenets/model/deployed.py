"""The model as devices run it: uint8 images in, probabilities out, for the converters that start from PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mobilenets.model.build import MobileNet, deploy


class Deployed(nn.Module):
    """Scaling, network and softmax (or sigmoids) as one module: the contract of every exported file.

    Parallel branches are folded. Batch norm stays a node of its own: converters fold it, quantizers want to see it.

    Shapes:
        images: uint8 (n, h, w, c); result: float32 (n, classes), probabilities.
    """

    def __init__(self, model: MobileNet) -> None:
        super().__init__()
        self.network = deploy(model)
        mean, std = (np.asarray(v, np.float64) for v in (model.info.preprocessing.mean, model.info.preprocessing.std))
        for name, value in (("factor", 1 / (255 * std)), ("offset", -mean / std)):
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)).reshape(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of uint8 images."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # n c h w
        factor, offset = self.get_buffer("factor"), self.get_buffer("offset")
        probabilities: Tensor = self.network.probabilities(self.network(pixels * factor + offset))
        return probabilities
