"""ExecuTorch: `.pte` for XNNPACK, one image at a time, so that all memory is planned when the file is written.

fp16 computes in 16 bits, in every layer. int8 is torchao's PT2E graph.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.errors import MissingExtraError
from mobilenets.exports.described import described
from mobilenets.model import MobileNet
from mobilenets.model.deployed import Deployed
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.executorch import METADATA
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import Images


def write(model: MobileNet, path: Path, *, precision: Precision, calibration: Images | None, scheme: Scheme) -> None:
    """Write a `.pte` file; our metadata is what its method `mobilenets_metadata` returns.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
    """
    network = model.network
    sample = torch.zeros(1, network.resolution, network.resolution, network.in_channels, dtype=torch.uint8)
    deployed = Deployed(model)
    module: nn.Module = deployed
    try:
        with quiet():
            if precision == "int8":
                from mobilenets.quantization.pt2e import quantize_pt2e

                assert calibration is not None
                module = quantize_pt2e(deployed, calibration, scheme, backend="executorch")
            elif precision == "fp16":
                module = _Half(deployed)
            program = _lowered(torch.export.export(module, (sample,)), described(model, precision))
    except ImportError as error:
        raise MissingExtraError("executorch", "executorch", purpose="writing .pte files") from error
    path.write_bytes(program)


def _lowered(program: Any, metadata: dict[str, str]) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    text = json.dumps(metadata, ensure_ascii=False)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], constant_methods={METADATA: text})
    return bytes(edge.to_executorch().buffer)


class _Half(nn.Module):
    """The deployed module in 16 bits, between uint8 images and float32 probabilities."""

    def __init__(self, module: Deployed) -> None:
        super().__init__()
        self.factor = nn.Buffer(module.get_buffer("factor").half())
        self.offset = nn.Buffer(module.get_buffer("offset").half())
        self.network = copy.deepcopy(module.network).half()

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).to(torch.float16)
        logits = self.network(pixels * self.factor + self.offset)
        probabilities: Tensor = self.network.probabilities(logits.to(torch.float32))
        return probabilities
