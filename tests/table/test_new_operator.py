"""CONTRIBUTING's claim about a new operator: a row type and one case in each reader, which the type checker lists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from making import lively, noise, pixels
from mobilenets.costs import cost, printed
from mobilenets.model import MobileNet, arrays, load, normalise, save
from mobilenets.onnx import to_onnx
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.table import Act, Network, json, lower, scale, transforms
from mobilenets.table.graph import Graph
from mobilenets.table.rows import Conv, Linear, Pool

ROOT = Path(__file__).parents[2]

READERS = {
    "src/mobilenets/table/lower.py": "_lower_row",
    "src/mobilenets/table/transforms.py": "_scaled_row, _plain",
    "src/mobilenets/costs/printed.py": "_cells",
}
"""What must learn a new row type."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A toy: two depthwise convolutions of different kernels side by side, concatenated, projected."""

    kernels: tuple[int, ...]
    out: int
    act: Act


def _lower_twin(graph: Graph, row: Twin) -> None:
    source, branches = graph.value, []
    for i, kernel in enumerate(row.kernels, 1):
        graph.goto(source)
        graph.conv_norm_act(f"depthwise{i}", graph.shape[0], kernel, 1, row.act, depthwise=True)
        branches.append(graph.value)
    graph.concat("concat", branches)
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network with the toy row, and every reader of rows with one case more."""
    lowering = sys.modules["mobilenets.table.lower"]

    def taught(module: Any, name: str, case: Any) -> None:
        before = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *args: (
                next((case(*args) for arg in args if isinstance(arg, Twin)), None)
                if any(isinstance(arg, Twin) for arg in args)
                else before(*args)
            ),
        )

    taught(lowering, "_lower_row", _lower_twin)
    taught(
        transforms,
        "_scaled_row",
        lambda row, width, divisor, *_: replace(row, out=transforms.round_channels(row.out * width, divisor)),
    )
    taught(printed, "_cells", lambda row, _: printed._line(f"twin {row.kernels}", out=row.out, nl=row.act, s=1))
    monkeypatch.setitem(json.ROW_TYPES, "Twin", Twin)  # type: ignore[arg-type]
    rows = (Conv(3, 16, Act.RELU, 2), Twin((3, 5), 24, Act.HSWISH), Pool(), Linear(10))
    return Network("toy", "none", rows, resolution=32)  # type: ignore[arg-type]


def test_a_toy_row_is_scaled_costed_printed_built_saved_and_exported(twin: Network, tmp_path: Path) -> None:
    counted = cost(twin)
    body = (9 + 25) * 16 + 2 * 2 * 16 + 32 * 24 + 2 * 24
    assert counted.params == 3 * 16 * 9 + 32 + body + 24 * 10 + 10
    assert cost(scale(twin, 2.0)).rows[1].output_shape == (48, 16, 16)
    assert counted.rows[1].macs == 16 * 16 * ((9 + 25) * 16 + 32 * 24)
    assert counted.peak_activation_bytes() > 0
    assert printed.cells(counted.rows[1]).operator == "twin (3, 5)"
    assert json.loads(json.dumps(twin)) == twin

    torch.manual_seed(0)
    model = lively(MobileNet(twin))
    assert sum(p.numel() for p in model.parameters()) == counted.params
    assert "twin (3, 5)" in repr(model)
    again = load(save(model, tmp_path / "toy.safetensors"))
    images = pixels(4, 32)
    with torch.inference_mode():
        tensor = normalise(torch.from_numpy(images), model.info.preprocessing)
        expected = model(tensor).softmax(-1).numpy()
        assert np.array_equal(again(tensor).softmax(-1).numpy(), expected)
    proto = to_onnx(twin, arrays(model), model.info.preprocessing)
    found = OnnxRuntimeSession.open(proto.SerializeToString()).run(images)
    assert np.abs(found - expected).max() < max(1e-5, float(noise(model, tensor)[1].max()))
    assert "row02.depthwise2.conv" in {node.name for node in lower(twin)}


def test_the_type_checker_lists_every_reader(tmp_path: Path) -> None:
    """A row type in the union and nowhere else: mypy names each function that must learn it, and no other."""
    shutil.copytree(ROOT / "src/mobilenets/table", tmp_path / "src/mobilenets/table")
    for path in ("errors.py", "version.py", "py.typed", "costs/count.py", "costs/memory.py", "costs/printed.py"):
        (tmp_path / "src/mobilenets" / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "src/mobilenets" / path, tmp_path / "src/mobilenets" / path)
    for package in ("", "costs"):
        (tmp_path / "src/mobilenets" / package / "__init__.py").write_text('"""Part."""\n')
    rows = tmp_path / "src/mobilenets/table/rows.py"
    text = rows.read_text()
    toy = '@dataclass(frozen=True, slots=True)\nclass Toy:\n    """Toy."""\n\n    out: int\n\n\n'
    assert "Row = (\n    Conv\n" in text
    rows.write_text(text.replace("Row = (\n    Conv\n", f"{toy}Row = (\n    Toy\n    | Conv\n"))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    command += ["--config-file", "/dev/null", "src/mobilenets"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = re.findall(r"^(src/\S+?):(\d+): error: Argument 1 to \"assert_never\" has", done.stdout, re.M)
    assert len(found) == done.stdout.count("error:"), done.stdout
    listed: dict[str, list[str]] = {}
    for path, line in found:
        before = (tmp_path / path).read_text().splitlines()[: int(line)]
        inside = next(m[1] for text in reversed(before) if (m := re.match(r"def (\w+)", text)))
        listed.setdefault(path, []).append(inside)
    assert {path: ", ".join(names) for path, names in listed.items()} == READERS
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for path in READERS:
        assert path.removeprefix("src/mobilenets/") in contributing, path
