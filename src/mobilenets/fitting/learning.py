"""How far a network can get in the time there is: a large one that is hardly trained loses to a small one that is."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from mobilenets.model import AnchorOutputs, build
from mobilenets.table.rows import Network
from mobilenets.training.speed import keep_freed_memory

EXPONENT = 0.56
SCALE = 176.0
"""Error above the final one = SCALE x images ** -EXPONENT: V1 0.5 at 96 px on CIFAR-10 from scratch, 47 % after 42,500
images and 72.6 % after 190,000."""
CAPACITY = 0.45
"""Final error = CAPACITY x (ImageNet error) ** 2: about 10 % for V1 0.5 and 14 % for V3-Small minimalistic 0.5 at 96 px
on CIFAR-10, where their ImageNet errors are 47 and 55 %. A fourth power sent every search to networks that the
time could not train. Both constants only order candidates; what is reported is measured."""


def seconds_per_image(network: Network, *, batch: int = 16, repeats: int = 2) -> float:
    """Training time of one image on this machine: forward, backward, fastest of a few batches."""
    keep_freed_memory()
    model = build(network, training=True).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    size = network.resolution
    pixels = torch.rand(batch, network.in_channels, size, size).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(repeats + 1):  # the first one allocates
        begin = time.perf_counter()
        _any_loss(model(pixels)).backward()  # type: ignore[no-untyped-call]
        best = min(best, time.perf_counter() - begin)
    return best / batch


def _any_loss(out: Tensor | AnchorOutputs) -> Tensor:
    """A loss of a model's outputs that takes about as long as a real one."""
    if isinstance(out, AnchorOutputs):
        return F.l1_loss(out.boxes, torch.zeros_like(out.boxes)) + _any_loss(out.classes.transpose(1, 2))
    return F.cross_entropy(out, torch.zeros_like(out[:, 0], dtype=torch.int64))


def final_error(published: float) -> float:
    """Error in [0, 1] to expect after endless training, from the ImageNet accuracy (or a head's score) in percent."""
    return min(1.0, CAPACITY * (1 - published / 100) ** 2)


def expected_error(published: float, images: float, distinct_images: int, *, head_start: float = 1.0) -> float:
    """Error to expect after training on so many images; above 1 on very few, so that it orders candidates there, too.

    Args:
        published: score of the network on public data, percent; see `Candidate.expected`.
        images: training images seen, repeats counted.
        distinct_images: in the training set; beyond 60 passes repeats teach nothing more.
        head_start: by how much more each image teaches a network that starts from weights.
    """
    useful = max(1.0, min(images, 60.0 * distinct_images)) * head_start
    return final_error(published) + SCALE * math.pow(useful, -EXPONENT)


def extrapolated_error(published: float, error: float, seconds: float, final_seconds: float) -> float:
    """Error to expect after `final_seconds` of training from the error measured after `seconds`.

    The part above the final error falls by the power law of `expected_error`. Without it the fastest learners would win
    every short trial, and the small networks among them be overtaken long before the end.
    """
    floor = min(final_error(published), error)
    return floor + (error - floor) * math.pow(min(1.0, seconds / final_seconds), EXPONENT)
