"""`mobilenets explain`: the arithmetic of a separable convolution, with the numbers put in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.costs.explain import Explanation, Layer, layer_of_network, layer_of_numbers
from mobilenets.costs.explain import explain as count
from mobilenets.errors import MisuseError

_COUNTS = ("multiplications", "additions", "params")


def run(
    *,
    size: int | None = None,
    channels: int | None = None,
    kernel: int | None = None,
    filters: int | None = None,
    stride: int | None = None,
    padding: Literal["valid", "symmetric"] | None = None,
    network: str | None = None,
    row: int | None = None,
    json: bool = False,
) -> None:
    """Explain what a standard, a depthwise, a pointwise and a separable convolution cost.

    Args:
        size: height and width of the input, in pixels (6 where nothing is said).
        channels: input channels, M (3).
        kernel: height and width of the kernel, D_K (3).
        filters: output channels, N (5).
        stride: step of the kernel (1).
        padding: none (valid), or half a kernel on every side (valid).
        network: take the layer from this network instead: a name, or a table file (.json).
        row: number of its row, from 1; one with a depthwise convolution.
        json: one JSON object on stdout.
    """
    numbers = {
        "size": size, "channels": channels, "kernel": kernel, "filters": filters, "stride": stride, "padding": padding
    }  # fmt: skip
    given = [f"--{name}" for name, value in numbers.items() if value is not None]
    if network is not None:
        layer = _from_network(network, row, given)
    elif row is not None:
        raise MisuseError(f"`--row` (={row}) is a row of a network: name it, such as --network mobilenet_v1.")
    else:
        layer = layer_of_numbers(
            6 if size is None else size, 3 if channels is None else channels, 3 if kernel is None else kernel,
            5 if filters is None else filters, 1 if stride is None else stride, padding or "valid",
        )  # fmt: skip
    explanation = count(layer)
    if json:
        print_json(_as_json(explanation))
    else:
        _print(explanation)


def _from_network(network: str, row: int | None, given: list[str]) -> Layer:
    if given:
        raise MisuseError(f"{', '.join(given)} and --network were both given: the network's row has its own sizes.")
    if row is None:
        raise MisuseError(
            f"which row of {network}? `--row 8` takes the eighth; `mobilenets show {network}` lists them."
        )
    return layer_of_network(resolve(network), row)


def _as_json(explanation: Explanation) -> dict[str, Any]:
    layer = explanation.layer
    return {
        "layer": {"name": layer.name, "D_K": layer.kernel, "M": layer.channels, "N": layer.filters, "D_F": layer.size},
        "kinds": {kind.name: asdict(kind) for kind in explanation.kinds},
        "ratio": {
            "formula": "1/N + 1/D_K^2",
            "exact": str(explanation.ratio),
            "value": float(explanation.ratio),
            "measured": str(explanation.measured),
        },
    }


def _print(explanation: Explanation) -> None:
    from rich.table import Table

    layer, out = explanation.layer, stdout()
    if layer.name:
        out.print(layer.name)
    out.print(
        f"D_K = {layer.kernel} (kernel), M = {layer.channels} (input channels), N = {layer.filters} (output channels), "
        f"D_F = {layer.size} (height and width of the output)"
    )
    table = Table()
    for heading in ("convolution", "mult-adds", "in numbers", *_COUNTS):
        table.add_column(heading, justify="right" if heading in _COUNTS else "left")
    for kind in explanation.kinds:
        counts = f"{kind.multiplications:,}", f"{kind.additions:,}", f"{kind.params:,}"
        table.add_row(kind.name, *(text.replace(" + ", "\n+ ") for text in (kind.formula, kind.numbers)), *counts)
    out.print(table)
    out.print(_verdict(explanation))
    out.print("Biases and batch norm are not counted.", style="dim")


def _verdict(explanation: Explanation) -> str:
    standard, *_, separable = explanation.kinds
    ratio, n, k = explanation.ratio, explanation.layer.filters, explanation.layer.kernel
    saved = f"{float(1 / ratio):.2f} times fewer" if ratio < 1 else "nothing is saved"
    return (
        f"separable / standard = {separable.multiplications:,} / {standard.multiplications:,} = 1/N + 1/D_K^2 "
        f"= 1/{n} + 1/{k * k} = {ratio} = {float(ratio):.4f}: {saved}"
    )
