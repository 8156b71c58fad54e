"""PyTorch's own archive: `.pt2`, any number of images at once; it runs wherever the same PyTorch does."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mobilenets.exports.described import described
from mobilenets.model import MobileNet
from mobilenets.model.deployed import Deployed
from mobilenets.runtime.pytorch import METADATA
from mobilenets.runtime.quiet import quiet


def write(model: MobileNet, path: Path) -> None:
    """Write a `.pt2` file."""
    network = model.network
    # of two images: one would be taken for the only number there is
    sample = torch.zeros(2, network.resolution, network.resolution, network.in_channels, dtype=torch.uint8)
    metadata = json.dumps(described(model, "fp32"), ensure_ascii=False)
    with quiet():
        free = ({0: torch.export.Dim("n", min=1)},)
        program = torch.export.export(Deployed(model), (sample,), dynamic_shapes=free)
        torch.export.save(program, str(path), extra_files={METADATA: metadata})
