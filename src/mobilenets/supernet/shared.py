"""Weights that every network of a search space takes its own from: elastic kernel, depth, width and expansion.

A network of the space takes the first channels of each filter and the middle of each kernel, which a learned matrix
turns from the larger kernel's into the smaller one's. Source: once-for-all (arXiv 1908.09791, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mobilenets.errors import MisuseError
from mobilenets.metrics import Task
from mobilenets.model import AnchorOutputs, MobileNet, build, with_info
from mobilenets.preprocessing import Preprocessing
from mobilenets.search.points import Point
from mobilenets.search.space import Space
from mobilenets.table.rows import Network
from mobilenets.training.objectives.boxes import begin_rare

_TO = ".to"
"""Before the size of the kernel that a matrix makes: `separable.stage1.block1.depthwise.conv.weight.to5`."""


class SharedWeights:
    """Weights of a whole space, by the place of their row and their name inside it.

    Attributes:
        space: what may be taken.
        classes: names of the outputs.
        task: of the networks.
        preprocessing: of the images; its resolution is each network's own.
        tensors: the weights, each as large as any network of the space wants it.
    """

    def __init__(self, space: Space, classes: Sequence[str], task: Task, *, seed: int = 0) -> None:
        """Random weights, as a network of the space begins with them.

        Raises:
            MisuseError: networks of the space that cannot be built.
        """
        self.space, self.classes, self.task = space, tuple(classes), task
        self.preprocessing = Preprocessing.of(space.network(space.smallest()))
        self.tensors: dict[str, nn.Parameter] = {}
        torch.manual_seed(seed)
        for point in _extremes(space):
            self._add(point)
        self._bodies: dict[Network, MobileNet] = {}

    def _add(self, point: Point) -> None:
        """The weights that a point needs, as large as it and those before it want them."""
        network, places = self.space.built(point)
        model = build(network, self.classes)
        if self.task == "detect":
            begin_rare(model, {node.name for node in model.nodes})
        for key, value in model.named_parameters():
            shared = _shared_key(key, places)
            _begin_alike(shared, value)
            before = self.tensors.get(shared, value)
            self.tensors[shared] = nn.Parameter(_widened(before, value.shape))
            for kernel in range(value.shape[-1] - 2, 2, -2) if _is_depthwise(value) else ():
                self.tensors[f"{shared}{_TO}{kernel}"] = nn.Parameter(torch.eye(kernel**2))

    def parameters(self) -> Iterator[nn.Parameter]:
        """All of them."""
        yield from self.tensors.values()

    def groups(self, weight_decay: float) -> list[dict[str, object]]:
        """For an optimiser: filters and matrices decay; batch norm, biases and what makes kernels smaller do not."""
        decays = [p for key, p in self.tensors.items() if p.ndim > 1 and _TO not in key]
        keeps = [p for key, p in self.tensors.items() if p.ndim <= 1 or _TO in key]
        return [{"params": decays, "weight_decay": weight_decay}, {"params": keeps, "weight_decay": 0.0}]

    def forward(self, point: Point, images: Tensor) -> Tensor | AnchorOutputs:
        """What a network of the space says of a normalised batch, which is also what its batch norm goes by.

        Shapes and values are `MobileNet.forward`'s; gradients reach the shared weights.
        """
        network, places = self.space.built(point)
        network = replace(network, resolution=images.shape[-1]) if network.task == "classify" else network
        body = self._body(network)
        taken = {key: self._taken(_shared_key(key, places), value) for key, value in body.named_parameters()}
        said: Tensor | AnchorOutputs = functional_call(body, taken, (images,))
        return said

    def model(self, point: Point) -> MobileNet:
        """A network of the space with a copy of its weights, whose batch norm knows no statistics yet."""
        network, places = self.space.built(point)
        preprocessing = replace(self.preprocessing, resolution=network.resolution)
        model = build(network, self.classes, preprocessing=preprocessing, training=True)
        with torch.no_grad():
            for key, value in model.named_parameters():
                value.copy_(self._taken(_shared_key(key, places), value))
        return with_info(model, task=self.task).eval()

    def _body(self, network: Network) -> MobileNet:
        """A module without weights, in training; its batch norm goes by the batch. The last few are kept."""
        if network not in self._bodies:
            with torch.device("meta"):
                body = build(network, self.classes).train()
            for module in body.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.track_running_stats = False
                    module.running_mean = module.running_var = module.num_batches_tracked = None
            while len(self._bodies) >= 8:
                self._bodies.pop(next(iter(self._bodies)))
        else:
            body = self._bodies.pop(network)
        self._bodies[network] = body
        return body

    def _taken(self, key: str, wanted: Tensor) -> Tensor:
        """The part of a shared weight that has the wanted one's shape."""
        whole: Tensor = self.tensors[key]
        part = whole[tuple(slice(size) for size in wanted.shape[:2])]
        if part.shape == wanted.shape:
            return part
        if part.ndim != 4 or any(have < want for have, want in zip(part.shape, wanted.shape, strict=True)):
            raise MisuseError(f"{key} is {tuple(whole.shape)}: no network of its space takes {tuple(wanted.shape)}.")
        for kernel in range(whole.shape[-1] - 2, wanted.shape[-1] - 2, -2):
            middle = part[..., 1:-1, 1:-1]
            part = (middle.flatten(1) @ self.tensors[f"{key}{_TO}{kernel}"]).view_as(middle)
        return part


def _extremes(space: Space) -> Iterator[Point]:
    """The largest network with every kind of block and head, with and without what may be left out.

    Together they have all weights of the space, in all their sizes: where a stage is left out, the next one reads the
    channels of the one before.
    """
    names = (
        "blocks",
        "head.kind",
        "head.features",
        "head.filters",
        *(name for name in space.choices if name.endswith(".depth")),
    )
    chosen = {name: space.choices[name] for name in names if name in space.choices}
    whole = ("blocks", "head.kind", "head.filters")
    ends = {name: set(values) for name, values in chosen.items() if name in whole}
    ends |= {name: {values[0], values[-1]} for name, values in chosen.items() if not values[0]}
    for values in product(*ends.values()):
        yield space.largest() | dict(zip(ends, values, strict=True))


def _begin_alike(key: str, weight: Tensor) -> None:
    """Let networks of all depths and kernels begin as one: what they share is then learned together; in place.

    The borders of large kernels begin at zero, their 3x3 middle as a 3x3 kernel's does; blocks that may be left out
    begin with a residual of zero (arXiv 1706.02677, section 5.1).
    """
    with torch.no_grad():
        if _is_depthwise(weight):
            border = (weight.shape[-1] - 3) // 2
            middle = weight[..., border:-border, border:-border] * (weight.shape[-1] / 3)
            weight.zero_()[..., border:-border, border:-border] = middle
        if key.endswith("project.bn.weight") and ".block1." not in key:
            weight.zero_()


def _widened(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor that is at least as large in every dimension, filled with values drawn from its own."""
    size = [max(have, want) for have, want in zip(tensor.shape, shape, strict=True)]
    if size == list(tensor.shape):
        return tensor.detach()
    values = tensor.detach().flatten()
    return values[torch.randint(len(values), size)]


def _shared_key(key: str, places: Sequence[str]) -> str:
    """`row05.expand.conv.weight` to `bottleneck.stage2.block1.expand.conv.weight`."""
    row, _, rest = key.partition(".")
    return f"{places[int(row.removeprefix('row')) - 1]}.{rest}"


def _is_depthwise(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 1 and weight.shape[-1] > 3
