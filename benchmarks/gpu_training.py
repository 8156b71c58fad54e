"""V3-Small on CIFAR-10 on one GPU: images/s and accuracy. `python -m benchmarks.gpu_training CIFAR10_FOLDER`.

It has not been run: no GPU was at hand when it was written. The same code trains on the processor, which tests cover;
what only a GPU reaches is autocast and the loss scaler of `training.speed.reduced`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from benchmarks.tables import machine, print_table
from mobilenets.prediction import evaluate
from mobilenets.table import scale
from mobilenets.training import Recipe, train
from mobilenets.zoo import INDEX

EPOCHS = 60
RESOLUTION = 96


def main(folder: str) -> int:
    """Train, score on the test images, print one row a precision."""
    if not torch.cuda.is_available():
        print("no CUDA device: nothing to measure.", file=sys.stderr)
        return 1
    print(machine(), torch.cuda.get_device_name(), sep=", ")
    rows = []
    for precision in ("fp32", "bf16", "fp16"):
        out = Path("runs") / f"gpu_{precision}"
        recipe = Recipe(epochs=EPOCHS, batch_size=256, precision=precision)
        begin = time.perf_counter()
        model = train(
            scale(INDEX["mobilenet_v3_small"], 1.0, RESOLUTION), folder, out=out, recipe=recipe, weights="none",
            overwrite=True,
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        speeds = [float(line.split(",")[-2]) for line in (out / "metrics.csv").read_text().splitlines()[1:]]
        found = evaluate(model, folder, split="test")
        rows.append([precision, f"{max(speeds):.0f}", f"{seconds:.0f}", f"{found.metric:.2%}", str(found.images)])
    print_table(f"V3-Small, {EPOCHS} epochs at {RESOLUTION} px, batch 256", ["", "images/s", "s", "top-1", "n"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
