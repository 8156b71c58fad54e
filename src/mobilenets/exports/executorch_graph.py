"""A `.pte` opened up: what XNNPACK was given, and what was left to the portable kernels."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.exports.census import Operator
from mobilenets.model import MobileNet
from mobilenets.runtime.session import first_line
from mobilenets.table.nodes import Convolution, FullyConnected

KERNELS = ("XNNConv2d", "XNNDepthwiseConv2d", "XNNFullyConnected")
MOVING = ("XNNConvert", "XNNStaticTranspose", "XNNStaticReshape", "XNNStaticConstantPad", "XNNStaticSlice")
PORTABLE_MOVING = ("permute", "view", "to_dim_order", "select", "slice", "clone", "expand")


def operators_of(model: MobileNet, artifact: Path) -> list[Operator]:
    """Operators in order; kernels carry addresses where there are as many as the network has.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
        CheckpointError: no program that it can read.
    """
    try:
        from executorch.exir._serialize._program import deserialize_pte_binary
    except ImportError as error:
        raise MissingExtraError("executorch", "executorch", purpose=f"reading {artifact}") from error
    try:
        program = deserialize_pte_binary(artifact.read_bytes()).program
    except Exception as error:  # whatever reading a damaged program raises
        raise CheckpointError(f"{artifact}: ExecuTorch cannot read it: {first_line(error)}") from error
    plan = program.execution_plan[0]
    found: list[Operator] = []
    for call in (instruction.instr_args for chain in plan.chains for instruction in chain.instructions):
        if hasattr(call, "delegate_index"):
            place = plan.delegates[call.delegate_index].processed.index
            found += _delegated(bytes(program.backend_delegate_data[place].data))
        elif hasattr(call, "op_index"):
            name = plan.operators[call.op_index].name.removeprefix("aten::").removeprefix("dim_order_ops::")
            if not any(part in name for part in PORTABLE_MOVING):
                found.append(Operator(name, False, None))
    return _with_addresses(model, found)


def _delegated(blob: bytes) -> list[Operator]:
    graph = _decoded(blob)
    types = {}
    for value in graph["xvalues"]:
        inside = value["xvalue_union"].get("tensor_value", value["xvalue_union"])
        types[inside["id_out"]] = inside.get("datatype", "xnn_datatype_fp32")
    return [
        Operator(kind.removeprefix("XNN"), "int8" in types.get(node["xnode_union"].get("output_id"), ""), None)
        for node in graph["xnodes"]
        if (kind := node["xnode_union_type"]) not in MOVING
    ]


def _decoded(blob: bytes) -> Any:
    """The flatbuffer of an XNNPACK graph as JSON; its offset and size stand behind eight bytes and a length."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import _get_schema_bytes
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    start, size = (int.from_bytes(blob[at : at + 4], "little") for at in (10, 14))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "schema.fbs").write_bytes(_get_schema_bytes())
        (folder / "data.bin").write_bytes(blob[start : start + size])
        _flatc_decompile(name, str(folder / "schema.fbs"), str(folder / "data.bin"))
        text = (folder / "data.json").read_text(encoding="utf-8")
    return json.loads(re.sub(r"(?<=: )(-?)inf\b", r"\1Infinity", text))


def _with_addresses(model: MobileNet, operators: list[Operator]) -> list[Operator]:
    nodes = [node.name for node in model.nodes if isinstance(node, Convolution | FullyConnected)]
    kernels = [i for i, operator in enumerate(operators) if f"XNN{operator.kind}" in KERNELS]
    if len(nodes) != len(kernels):
        return operators
    addresses = dict(zip(kernels, nodes, strict=True))
    return [operator._replace(address=addresses.get(i)) for i, operator in enumerate(operators)]
