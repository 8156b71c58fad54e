"""Nodes to an nn.Module. State-dict keys, feature taps and export names are node names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.costs.printed import describe_row
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.metrics import Task
from mobilenets.model.modules import DroppingLinear, Function, runner
from mobilenets.onnx import fold_branches
from mobilenets.preprocessing import Preprocessing
from mobilenets.table.lower import lower
from mobilenets.table.nodes import INPUT, BatchNorm, Node, outputs, predictors
from mobilenets.table.rows import Network, with_classes
from mobilenets.zoo import network as network_by_name


@dataclass(frozen=True, slots=True)
class Info:
    """What travels with weights.

    Attributes:
        classes: names of the outputs, in order; empty where they have none.
        preprocessing: how an image becomes the input.
        metrics: what was measured of these weights.
        recipe: how they were trained.
        task: one class an image, or several; boxes or masks.
    """

    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    task: Task = "classify"


class AnchorOutputs(NamedTuple):
    """What a detector gives: `boxes` (n, anchors, 4), relative to their anchors, and `classes` (n, anchors, k), logits.

    `heads.detections` makes boxes in the image of them.
    """

    boxes: Tensor
    classes: Tensor


Step = tuple[str, Callable[..., Tensor], tuple[str, ...], tuple[str, ...]]


class MobileNet(nn.Module):
    """A network that runs its nodes in order and frees every value after its last use.

    It is built as it is deployed; with `training` as it is trained, which differs where parallel branches fold into one
    convolution (see `deploy`).

    Shapes:
        input: float (n, c, h, w), normalised; output: logits (n, classes), of every pixel (n, classes, h, w) where the
        network segments, `AnchorOutputs` where it detects. h and w may differ from the table's resolution where padding
        is symmetric.
    """

    def __init__(
        self, network: Network, *, info: Info | None = None, dropout: float = 0.0, training: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.as_trained = training
        self.nodes = lower(network, training=training)
        self.info = info or Info(preprocessing=Preprocessing.of(network), task=network.task)
        self.ends = tuple(node.name for node in outputs(self.nodes))
        self._plan = self._make_plan()
        self.dropout = dropout
        initialise(self)

    @property
    def dropout(self) -> float:
        """Part of the classifier's inputs that training drops; 0 where the classifier is a convolution."""
        classifier = self._plan[-1][1]
        return classifier.dropout if isinstance(classifier, DroppingLinear) else 0.0

    @dropout.setter
    def dropout(self, rate: float) -> None:
        if isinstance(classifier := self._plan[-1][1], DroppingLinear):
            classifier.dropout = rate

    def forward(self, x: Tensor) -> Tensor | AnchorOutputs:
        """What the network says of normalised images (n, c, h, w); see the class."""
        values = {INPUT: x}
        for name, run, inputs, dead in self._plan:
            if len(inputs) == 1:
                values[name] = run(values[inputs[0]])
            else:
                values[name] = run(*[values[i] for i in inputs])
            for i in dead:
                del values[i]
        return self.answer(values)

    def answer(self, values: Mapping[str, Tensor]) -> Tensor | AnchorOutputs:
        """What `forward` gives, of the values of the nodes in `ends`."""
        match self.network.task:
            case "classify":
                return values[self.ends[0]].flatten(1)
            case "segment":
                return values[self.ends[0]]
            case "detect":
                return AnchorOutputs(*[values[end] for end in self.ends])
            case task:
                assert_never(task)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of logits (n, classes, ...): they sum to 1 where one class holds, and do not where several may.

        A detector's are those of the `classes` of its `AnchorOutputs`, (n, anchors, classes).
        """
        return logits.sigmoid() if self.info.task in ("multi-label", "detect") else logits.softmax(1)

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
            first = node.inputs[0] if node.inputs else ""
            in_place = last.get(first) == node.name and isinstance(producers.get(first), BatchNorm)
            run = runner(node, in_place=in_place)
            if isinstance(run, nn.Module):
                self._register(node.name, run)
            dead = tuple(dict.fromkeys(i for i in node.inputs if last[i] == node.name))
            plan.append((node.name, run, node.inputs, dead))
        return plan

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
    training: bool = False,
) -> MobileNet:
    """An initialised module for a network.

    Args:
        network: a table, or a name in the index.
        classes: number of outputs, or their names; None keeps the table's.
        dropout: before the classifier, in training only (V3, section 6.1.1: 0.2).
        preprocessing: defaults to the network's resolution with ImageNet's mean and std.
        training: with the parallel branches that fold into one convolution when it is deployed (MobileOne).

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
    chosen = preprocessing or Preprocessing.of(table)
    if chosen.resolution != size:
        raise MisuseError(f"`preprocessing.resolution` (={chosen.resolution}) must be the network's (={size}).")
    return MobileNet(table, info=Info(names, chosen, task=table.task), dropout=dropout, training=training)


def deploy(model: MobileNet) -> MobileNet:
    """The model as it is exported, in evaluation mode: parallel branches folded into one convolution each.

    A new model with the same outputs to about 1e-6; one without branches comes back as it is.
    """
    if not model.as_trained:
        return model
    small = MobileNet(model.network, info=model.info, dropout=model.dropout)
    small.load_state_dict({key: torch.from_numpy(value) for key, value in arrays(model).items()})
    return small.eval()


def addressed(model: MobileNet) -> MobileNet:
    """A copy in which every node is a module under its address, for tracers that name operations by their module."""
    copied = copy.deepcopy(model)
    nodes = {node.name: node for node in copied.nodes}
    for at, (name, run, inputs, dead) in enumerate(copied._plan):
        if not isinstance(run, nn.Module):
            function = Function(runner(nodes[name], in_place=False))
            copied._register(name, function)
            copied._plan[at] = (name, function, inputs, dead)
    return copied


def arrays(model: MobileNet) -> dict[str, NDArray[Any]]:
    """Weights as deployed, numpy arrays by state-dict key, for the writers that run without torch."""
    weights = {key: np.asarray(value.detach().float().cpu().numpy()) for key, value in model.state_dict().items()}
    return fold_branches(model.network, weights) if model.as_trained else weights


def initialise(model: MobileNet) -> None:
    """He-normal over the fan-out of one filter group, batch norm 1 and 0, what predicts normal 0.01, biases 0.

    Source: the authors' later TensorFlow code (MnasNet's `conv_kernel_initializer`) and torchvision's MobileNets; the
    three papers print no initialisation. What predicts are classifiers and the last convolutions of heads: He's would
    begin with answers far from what any anchor or pixel wants.
    """
    predicting = {model.get_submodule(name) for name in predictors(model.nodes)}
    for module in model.modules():
        if module in predicting and isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.01)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


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
