"""How far exported files are from their models: the largest probability difference on photos."""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.tables import machine
from mobilenets.exports import TOLERANCE, export, sample_images
from mobilenets.model import MobileNet, build, normalise
from mobilenets.table import scale
from mobilenets.zoo import INDEX

NAME = "export_parity"

NETWORKS = (
    ("mobilenet_v1", 0.25),
    ("mobilenet_v1", 1.0),
    ("mobilenet_v2", 0.35),
    ("mobilenet_v2", 1.0),
    ("mobilenet_v3_small", 0.5),
    ("mobilenet_v3_small", 1.0),
    ("mobilenet_v3_large", 1.0),
    ("mobilenet_v3_large_minimalistic", 1.0),
    ("mnasnet_a1", 1.0),
    ("mobilenet_edgetpu_v2_xs", 1.0),
    ("mobilenet_v4_conv_small", 1.0),
    ("mobilenet_v4_hybrid_medium", 1.0),
    ("mobile_former_26m", 1.0),
    ("mobile_former_294m", 1.0),
    ("dense_mobilenet_32", 1.0),
    ("mobile_one_s0", 1.0),
)


def run() -> None:
    """Print the largest difference of each network and what exporting takes, the proof included."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name, _photos(Path(name)) as (photos, source):
        table = Table(
            title=f"exported ONNX against PyTorch, 224, 1000 classes: {source}",
            caption=f"{machine()}\nweights random, batch-norm statistics those of the photos; allowed {TOLERANCE:.0e}",
        )
        for column in ("network", "images", "largest difference", "top-1 agreement", "mean top probability", "seconds"):
            table.add_column(column, justify="left" if column == "network" else "right")
        for network, width in NETWORKS:
            model = build(scale(INDEX[network], width, 224), training=True)
            images = sample_images(model, photos)
            confidence = _settle(model, normalise(torch.from_numpy(images), model.info.preprocessing))
            start = time.perf_counter()
            result = export(model, Path(name) / "model.onnx", images=images)
            seconds = time.perf_counter() - start
            table.add_row(
                model.network.label,
                str(result.images),
                f"{result.max_difference:.1e}",
                f"{result.top1_agreement:.1%}",
                f"{confidence:.2f}",
                f"{seconds:.1f}",
            )
        Console(width=120).print(table)


@torch.no_grad()
def _settle(model: MobileNet, images: torch.Tensor) -> float:
    """Give batch norm the photos' statistics and the classifier a spread of logits; the mean of the top probability."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # averages over all batches
    model.train()
    for batch in torch.split(images, 16):
        model(batch)
    logits = torch.cat([model.eval()(batch) for batch in torch.split(images, 16)])
    classifier = model.get_submodule(model.nodes[-1].name)
    assert isinstance(classifier, nn.Linear)
    classifier.weight *= 3.0 / (logits - logits.mean(0)).std()
    logits = torch.cat([model(batch) for batch in torch.split(images, 16)])
    return logits.softmax(1).amax(1).mean().item()


@contextmanager
def _photos(folder: Path) -> Iterator[tuple[list[Path], str]]:
    """The photos of the shared folder; none where it is missing, for which generated scenes stand in."""
    root = Path(__file__).resolve().parents[1]
    tar = root / os.environ.get("MOBILENETS_SHARED", "../shared") / "data" / "photos_80.tar"
    if not tar.is_file():
        yield [], "generated scenes"
        return
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    yield [folder / "photos_80"], "the photos of photos_80.tar"


if __name__ == "__main__":
    run()
