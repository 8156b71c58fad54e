"""What running nodes costs: `build(network)` against the same network hand-written as plain nn.Module blocks."""

from __future__ import annotations

import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.tables import machine
from mobilenets.model import MobileNet, build
from mobilenets.preprocessing import IMAGENET_MEAN
from mobilenets.zoo import INDEX

NAME = "forward"

ROUNDS = {1: 40, 8: 12}
BAR = 1.10


def conv_bn(
    channels: int, out: int, kernel: int, stride: int, act: type[nn.Module] | None, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, non-linearity: what every hand-written MobileNet begins with."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
    ]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)


class Gate(nn.Module):
    """Squeeze-and-excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeeze = max(8, int(channels / 4 + 4) // 8 * 8)
        squeeze += 8 if squeeze < 0.9 * channels / 4 else 0
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.restore = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.relu_(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.restore(gate))


class Inverted(nn.Module):
    """Inverted residual with linear bottleneck."""

    def __init__(
        self, kernel: int, channels: int, expand: int, out: int, se: bool, act: type[nn.Module], stride: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expand != channels:
            layers.append(conv_bn(channels, expand, 1, 1, act))
        layers.append(conv_bn(expand, expand, kernel, stride, act, groups=expand))
        if se:
            layers.append(Gate(expand))
        layers.append(conv_bn(expand, out, 1, 1, None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return x + out if self.residual else out


def plain_v1() -> nn.Sequential:
    """MobileNetV1, Table 1."""
    layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, nn.ReLU6)]
    channels = 32
    for out, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    ):
        layers += [conv_bn(channels, channels, 3, stride, nn.ReLU6, channels), conv_bn(channels, out, 1, 1, nn.ReLU6)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


def plain_v2() -> nn.Sequential:
    """MobileNetV2, Table 2."""
    layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, nn.ReLU6)]
    channels = 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, out, repeats, first in stages:
        for i in range(repeats):
            layers.append(Inverted(3, channels, channels * factor, out, False, nn.ReLU6, first if i == 0 else 1))
            channels = out
    layers.append(conv_bn(320, 1280, 1, 1, nn.ReLU6))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


LARGE = (
    # k  exp  out  SE  NL  s
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
)


def plain_v3_large() -> nn.Sequential:
    """MobileNetV3-Large, Table 1."""
    layers: list[nn.Module] = [conv_bn(3, 16, 3, 2, nn.Hardswish)]
    channels = 16
    for kernel, expand, out, se, act, stride in LARGE:
        layers.append(Inverted(kernel, channels, expand, out, se, act, stride))
        channels = out
    layers += [conv_bn(160, 960, 1, 1, nn.Hardswish), nn.AdaptiveAvgPool2d(1), nn.Conv2d(960, 1280, 1)]
    return nn.Sequential(*layers, nn.Hardswish(inplace=True), nn.Flatten(), nn.Linear(1280, 1000))


PLAIN = {"mobilenet_v1": plain_v1, "mobilenet_v2": plain_v2, "mobilenet_v3_large": plain_v3_large}


def pair(name: str) -> tuple[MobileNet, nn.Sequential]:
    """Both forms of a network with the same weights; their state dicts have the same order."""
    ours, plain = build(INDEX[name]), PLAIN[name]()
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.uniform_(-0.2, 0.2)
    values = ours.state_dict().values()
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    return ours.eval(), plain.eval()


def times_ms(models: tuple[nn.Module, nn.Module], images: Tensor, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each model, taken in turns that begin with either."""
    taken: tuple[list[float], list[float]] = ([], [])
    for i in range(-3, rounds):
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            models[which](images)
            if i >= 0:
                taken[which].append((time.perf_counter() - start) * 1e3)
    return taken


def run() -> None:
    """Print the medians of both forms and their ratio, held against the bar."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    table = Table(title="forward at 224, 1 thread, channels last", caption=f"{machine()}\nratio of medians, bar {BAR}")
    for column in ("network", "batch", "nodes ms", "middle half", "plain ms", "middle half", "ratio", "best/best", "n"):
        table.add_column(column, justify="left" if column == "network" else "right")
    with torch.inference_mode():
        for name in PLAIN:
            models = pair(name)
            for batch, rounds in ROUNDS.items():
                images = torch.randn(batch, len(IMAGENET_MEAN), 224, 224).contiguous(memory_format=torch.channels_last)
                difference = (models[0](images) - models[1](images)).abs().max().item()
                assert difference < 1e-6, f"{name}: the two forms differ by {difference}"
                nodes, plain = times_ms(models, images, rounds)
                ratio = statistics.median(nodes) / statistics.median(plain)
                mark = "" if ratio <= BAR else " (above the bar)"
                best = f"{min(nodes) / min(plain):.3f}"
                table.add_row(name, str(batch), *_cells(nodes), *_cells(plain), f"{ratio:.3f}{mark}", best, str(rounds))
    torch.set_num_threads(threads)
    Console(width=120).print(table)


def _cells(taken: list[float]) -> tuple[str, str]:
    low, middle, high = statistics.quantiles(taken, n=4)
    return f"{middle:.1f}", f"{low:.1f} - {high:.1f}"


if __name__ == "__main__":
    run()
