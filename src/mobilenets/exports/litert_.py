"""LiteRT: `.tflite`, one image at a time, uint8 n h w c.

fp16 halves the file: kernels are stored in 16 bits and widened when the file is loaded. int8 is torchao's PT2E graph.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from mobilenets.errors import MissingExtraError
from mobilenets.exports.described import described
from mobilenets.model import MobileNet
from mobilenets.model.deployed import Deployed
from mobilenets.outputs import output_names
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.litert import LABELS, METADATA
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import Images


def write(model: MobileNet, path: Path, *, precision: Precision, calibration: Images | None, scheme: Scheme) -> None:
    """Write a `.tflite` file, our metadata in a zip archive at its end.

    Raises:
        MissingExtraError: the converter is not installed.
    """
    module: Any = Deployed(model)
    config = None
    try:
        with quiet():
            import litert_torch

            if precision == "int8":
                from mobilenets.quantization.pt2e import quantize_pt2e

                assert calibration is not None
                module = quantize_pt2e(module, calibration, scheme, backend="litert")
                config = _already_quantized()
            network = model.network
            size = network.resolution
            sample = torch.zeros(1, size, size, network.in_channels, dtype=torch.uint8)
            converted = litert_torch.convert(module, (sample,), quant_config=config)
            converted.export(str(path))
            if precision == "fp16":
                path.write_bytes(_halved(path))
            if len(names := output_names(network.task)) > 1:
                path.write_bytes(_named(path, names))
    except ImportError as error:
        raise MissingExtraError("litert-torch", "litert", purpose="writing .tflite files") from error
    append_metadata(path, described(model, precision))


def append_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Append an archive of associated files, as TFLite's own metadata does: the class names, and all else as JSON."""
    classes = json.loads(metadata["classes"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(LABELS, "".join(f"{name}\n" for name in classes))
        archive.writestr(METADATA, json.dumps(metadata, ensure_ascii=False, indent=1))


def _already_quantized() -> Any:
    """Tells the converter that the graph carries its quantizers."""
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    chosen = get_symmetric_quantization_config(is_per_channel=True)
    return QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(chosen))


def _named(path: Path, names: tuple[str, ...]) -> bytes:
    """The file with its outputs named in its signature, where the converter numbers them."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for output in model.signatureDefs[0].outputs:
        number = int(output.name.decode().removeprefix("output_"))
        output.name = names[number].encode()
    builder = flatbuffers.Builder(path.stat().st_size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _halved(path: Path) -> bytes:
    """The file with its kernels in 16 bits."""
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe_manager

    recipe = recipe_manager.RecipeManager()
    recipe.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    result = quantizer.Quantizer(str(path), recipe.get_quantization_recipe()).quantize()
    return bytes(result.quantized_model)
