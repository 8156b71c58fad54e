"""ExecuTorch: `.pte` for XNNPACK, one image at a time, so that all memory is planned when the file is written.

int8 is torchao's PT2E graph. There is no fp16: XNNPACK's files of it run no faster on our processor, are hardly smaller
(11.4 MB of 14.0 for MobileNetV2) and differ by 0.03.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

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
