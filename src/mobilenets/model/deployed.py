"""The model as devices run it: uint8 images in, answers out, for the converters that start from PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mobilenets.model.build import AnchorOutputs, MobileNet, deploy


class Deployed(nn.Module):
    """Scaling, network and softmax (or sigmoids) as one module: the contract of every exported file, raw.

    Parallel branches are folded. Batch norm stays a node of its own: converters fold it, quantizers want to see it.

    Shapes:
        images: uint8 (n, h, w, c); result: float32 probabilities (n, classes), of every pixel (n, classes, h, w) where
        the network segments; of a detector `boxes` (n, anchors, 4), codes, and `scores` (n, anchors, classes).
    """

    def __init__(self, model: MobileNet) -> None:
        super().__init__()
        self.network = deploy(model)
        mean, std = (np.asarray(v, np.float64) for v in (model.info.preprocessing.mean, model.info.preprocessing.std))
        for name, value in (("factor", 1 / (255 * std)), ("offset", -mean / std)):
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)).reshape(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What the file gives for uint8 images, in the order of `mobilenets.outputs`."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # n c h w
        return self.of_pixels(pixels)

    def of_pixels(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The same of float pixels n c h w, 0 to 255."""
        found = self.network(pixels * self.get_buffer("factor") + self.get_buffer("offset"))
        if isinstance(found, AnchorOutputs):
            return found.boxes, self.network.probabilities(found.classes)
        return self.network.probabilities(found)
