"""Nodes to an nn.Module. State-dict keys, feature taps and export names are node names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilenets.costs.printed import describe_row
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.preprocessing import Preprocessing
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalPool,
    Multiply,
    Node,
    WindowPool,
)
from mobilenets.table.rows import Act, Network, with_classes
from mobilenets.zoo import network as network_by_name


@dataclass(frozen=True, slots=True)
class Info:
    """What travels with weights.

    Attributes:
        classes: names of the outputs, in order; empty where they have none.
        preprocessing: how an image becomes the input.
        metrics: what was measured of these weights.
        recipe: how they were trained.
    """

    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


Step = tuple[str, Callable[..., Tensor], tuple[str, ...], tuple[str, ...]]


class MobileNet(nn.Module):
    """A network that runs its nodes in order and frees every value after its last use.

    Shapes:
        input: float (n, c, h, w), normalised; output: logits (n, classes). h and w may differ from the table's
        resolution where padding is symmetric.
    """

    def __init__(self, network: Network, *, info: Info | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.nodes = lower(network)
        self.info = info or Info(preprocessing=Preprocessing.default(network.resolution, network.in_channels))
        self.dropout = dropout
        self._plan = self._make_plan()
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of normalised images (n, c, h, w)."""
        values = {INPUT: x}
        for name, run, inputs, dead in self._plan:
            if len(inputs) == 1:
                values[name] = run(values[inputs[0]])
            else:
                values[name] = run(*[values[i] for i in inputs])
            for i in dead:
                del values[i]
        return values[name].flatten(1)

    def taps(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Values of the named nodes for an input, with the addresses that `lower` gives them.

        Raises:
            UnknownNameError: no such node.
        """
        known = {node.name for node in self.nodes}
        wanted = set(names)
        for name in sorted(wanted - known):
            raise UnknownNameError("node", name, known, hint="`print(model)` shows all.")
        values, kept = {INPUT: x}, {}
        for name, run, inputs, dead in self._plan:
            values[name] = run(*[values[i] for i in inputs])
            if name in wanted:
                kept[name] = values[name].clone()  # a later node may write over it
            for i in dead:
                del values[i]
        return kept

    def _make_plan(self) -> list[Step]:
        """(name, callable, inputs, values that die here) per node; modules are registered under the nodes' names."""
        last: dict[str, str] = {}
        for node in self.nodes:
            for name in node.inputs:
                last[name] = node.name
        producers: dict[str, Node] = {node.name: node for node in self.nodes}
        plan: list[Step] = []
        for node in self.nodes:
            in_place = last[node.inputs[0]] == node.name and isinstance(producers.get(node.inputs[0]), BatchNorm)
            run = self._callable(node, in_place=in_place)
            if isinstance(run, nn.Module):
                self._register(node.name, run)
            dead = tuple(dict.fromkeys(i for i in node.inputs if last[i] == node.name))
            plan.append((node.name, run, node.inputs, dead))
        return plan

    def _callable(self, node: Node, *, in_place: bool) -> Callable[..., Tensor]:
        match node:
            case Convolution():
                return _conv2d(node)
            case BatchNorm():
                return nn.BatchNorm2d(node.shape[0], eps=node.eps, momentum=node.momentum)
            case Activation():
                return _activation(node.function, in_place)
            case GlobalPool():
                return _global_pool
            case WindowPool():
                return _WindowPool(node)
            case Flatten():
                return _flatten
            case FullyConnected():
                classifier = node.name == self.nodes[-1].name
                return _Linear(node.in_features, node.shape[0], self if classifier else None)
            case Multiply():
                return torch.mul
            case Add():
                return torch.add
            case Concat():
                return _concat
            case _:
                assert_never(node)

    def _register(self, address: str, module: nn.Module) -> None:
        *parents, leaf = address.split(".")
        at: nn.Module = self
        for parent in parents:
            if parent not in at._modules:
                at.add_module(parent, nn.Module())
            at = at.get_submodule(parent)
        at.add_module(leaf, module)

    def __repr__(self) -> str:
        """Rows as the paper prints them, each with its nodes by name."""
        net = self.network
        lines = [f"{net.label}, {net.classes} classes ({net.paper})"]
        for number, row in enumerate(net.rows, 1):
            address = f"row{number:02d}"
            lines.append(f"  {address}  {describe_row(row)}")
            lines += [
                f"    {node.name[len(address) + 1 :]:<22} {'x'.join(map(str, node.shape))}"
                for node in self.nodes
                if node.name.startswith(address + ".")
            ]
        return "\n".join(lines)


def build(
    network: Network | str,
    classes: int | Sequence[str] | None = None,
    *,
    dropout: float = 0.0,
    preprocessing: Preprocessing | None = None,
) -> MobileNet:
    """An initialised module for a network.

    Args:
        network: a table, or a name in the index.
        classes: number of outputs, or their names; None keeps the table's.
        dropout: before the classifier, in training only (V3, section 6.1.1: 0.2).
        preprocessing: defaults to the network's resolution with ImageNet's mean and std.

    Raises:
        UnknownNameError: no such network.
        MisuseError: classes below 1, names given twice, or a resolution that does not fit.
    """
    table = network_by_name(network) if isinstance(network, str) else network
    names: tuple[str, ...] = ()
    if classes is not None and not isinstance(classes, int):
        names = tuple(classes)
        if len(set(names)) != len(names):
            raise MisuseError(f"class names must differ, got {list(names)}.")
    if classes is not None:
        table = with_classes(table, classes if isinstance(classes, int) else len(names))
    size = table.resolution
    chosen = preprocessing or Preprocessing.default(size, table.in_channels)
    if chosen.resolution != size:
        raise MisuseError(f"`preprocessing.resolution` (={chosen.resolution}) must be the network's (={size}).")
    return MobileNet(table, info=Info(names, chosen), dropout=dropout)


def initialise(model: nn.Module) -> None:
    """He-normal over the fan-out of one filter group, batch norm 1 and 0, classifier normal 0.01, biases 0.

    Source: the authors' later TensorFlow code (MnasNet's `conv_kernel_initializer`) and torchvision's MobileNets; the
    three papers print no initialisation.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


class _PaddedConv2d(nn.Conv2d):
    """Convolution whose padding differs between the sides, as TensorFlow's `same` does on even sizes."""

    def __init__(self, *args: Any, pads: tuple[int, int, int, int], **options: Any) -> None:
        super().__init__(*args, **options)
        top, left, bottom, right = pads
        self.sides = (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.sides))


def _conv2d(node: Convolution) -> nn.Conv2d:
    top, left, bottom, right = node.pads
    options: dict[str, Any] = {
        "stride": node.stride,
        "dilation": node.dilation,
        "groups": node.groups,
        "bias": node.bias,
    }
    if (top, left) == (bottom, right):
        return nn.Conv2d(node.in_channels, node.shape[0], node.kernel, padding=(top, left), **options)
    return _PaddedConv2d(node.in_channels, node.shape[0], node.kernel, pads=node.pads, **options)


class _Linear(nn.Linear):
    """Fully connected layer; the classifier drops inputs at its model's `dropout` rate while training."""

    def __init__(self, in_features: int, out_features: int, model: MobileNet | None) -> None:
        super().__init__(in_features, out_features)
        # a list keeps the model from being registered as a child of its own child
        self._model = [model] if model is not None else []

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self._model and self._model[0].dropout:
            x = F.dropout(x, self._model[0].dropout)
        return super().forward(x)


class _WindowPool(nn.Module):
    def __init__(self, node: WindowPool) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Tensor) -> Tensor:
        node = self.node
        top, left, bottom, right = node.pads
        if node.mode == "mean":
            return F.avg_pool2d(x, node.kernel, node.stride, (top, left), node.ceil, count_include_pad=False)
        if (top, left) != (bottom, right):
            x = F.pad(x, (left, right, top, bottom), value=float("-inf"))
            return F.max_pool2d(x, node.kernel, node.stride)
        return F.max_pool2d(x, node.kernel, node.stride, (top, left), ceil_mode=node.ceil)


def _activation(function: Act, in_place: bool) -> Callable[..., Tensor]:
    match function:
        case Act.RELU:
            return torch.relu_ if in_place else torch.relu
        case Act.RELU6:
            return _relu6_ if in_place else F.relu6
        case Act.HSWISH:
            return _hardswish_ if in_place else F.hardswish
        case Act.HSIGMOID:
            return F.hardsigmoid
        case Act.SIGMOID:
            return torch.sigmoid
        case Act.NONE:
            return torch.clone
        case _:
            assert_never(function)


def _relu6_(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)


def _hardswish_(x: Tensor) -> Tensor:
    return F.hardswish(x, inplace=True)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _concat(*values: Tensor) -> Tensor:
    return torch.cat(values, 1)


def with_info(model: MobileNet, **changes: Any) -> MobileNet:
    """The same model with some of its `info` changed in place; returns it."""
    model.info = replace(model.info, **changes)
    return model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every module is as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images as the network wants them: `(value - mean) / std` per channel.

    Shapes:
        images: uint8 (n, h, w, c), or float (n, c, h, w) in [0, 1]; result: float (n, c, h, w), channels last.
    """
    if images.dtype == torch.uint8:
        images = images.permute(0, 3, 1, 2).to(torch.float32) / 255  # n c h w
    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocessing.mean, device=images.device).view(shape)
    std = torch.tensor(preprocessing.std, device=images.device).view(shape)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
