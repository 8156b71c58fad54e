"""How good a model is on decoded images, cropped and resized as its files will see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mobilenets.data.augment import plain
from mobilenets.data.batches import eval_batches
from mobilenets.data.cache import Squares
from mobilenets.metrics import mean_average_precision
from mobilenets.model import MobileNet, normalise
from mobilenets.training.parallel import World


def evaluated(model: MobileNet, pixels: Tensor) -> Tensor:
    """Squares (uint8 n s s c) as the model's files will see them: cropped, resized, normalised (n c h w)."""
    chosen = model.info.preprocessing
    images = plain(pixels, chosen.resolution, crop=chosen.crop, interpolation=chosen.interpolation)
    return normalise(images, chosen)


def plain_images(
    model: MobileNet, images: NDArray[np.uint8], chosen: NDArray[np.int64], device: torch.device
) -> Iterator[Tensor]:
    """Batches (n, c, h, w) of some squares (uint8 n s s c) as evaluation sees them, normalised."""
    for start in range(0, len(chosen), 64):
        yield evaluated(model, torch.from_numpy(images[chosen[start : start + 64]]).to(device))


def predict_squares(
    model: MobileNet, squares: Squares, batch_size: int = 64, *, world: World | None = None
) -> tuple[Tensor, Tensor]:
    """(probabilities (n, classes), labels (n,)) of decoded images, cropped and resized as the model's files will be.

    Several processes take a part each, and all get all of them, none twice; they come in another order then.
    """
    world = world or World()
    model.eval()
    device = next(model.parameters()).device
    probabilities, labels = [torch.zeros(0, model.network.classes)], [torch.from_numpy(squares.labels[:0].copy())]
    with torch.inference_mode():
        for i, (pixels, truth) in enumerate(eval_batches(squares, batch_size)):
            if i % world.size == world.rank:
                logits = model(evaluated(model, pixels.to(device)))
                probabilities.append(model.probabilities(logits.float()).cpu())
                labels.append(truth)
    return world.gathered(torch.cat(probabilities)), world.gathered(torch.cat(labels))


def score(model: MobileNet, squares: Squares, world: World) -> tuple[float, float]:
    """(top-1 accuracy or mean average precision, cross-entropy) over the parts of all processes."""
    probabilities, labels = predict_squares(model, squares, world=world)
    if model.info.task == "multi-label":
        loss = F.binary_cross_entropy(probabilities.clamp(1e-12, 1.0), labels)
        return mean_average_precision(labels.numpy(), probabilities.numpy()), loss.item()
    right = (probabilities.argmax(1) == labels).float().mean().item()
    return right, F.nll_loss(probabilities.clamp_min(1e-12).log(), labels).item()
