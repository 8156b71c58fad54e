"""What a start is worth at equal time: published weights, inherited ones, random ones, and a teacher.

`python -m benchmarks.transfer DATA WEIGHTS [MINUTES]`: DATA with train/ and test/ (CIFAR-10), WEIGHTS of MobileNetV2.
Four trainings of so many minutes, then a student of width 0.25 without and with the first one as its teacher (asking it
included). About six times MINUTES in all; the runs stay in runs/transfer.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.tables import machine, print_table
from mobilenets.prediction import evaluate
from mobilenets.table import scale
from mobilenets.training import train
from mobilenets.zoo import INDEX

RESOLUTION = 96


def main(data: str, weights: str, minutes: float = 15.0) -> int:
    """Train, score on the test images, print one row a training."""
    print(machine())
    cases = [
        ("V2 1.0, published weights", "mobilenet_v2", 1.0, weights, ()),
        ("V2 1.0, random weights", "mobilenet_v2", 1.0, "none", ()),
        ("V2 0.75, inherited weights", "mobilenet_v2", 0.75, weights, ()),
        ("V2 0.75, random weights", "mobilenet_v2", 0.75, "none", ()),
        ("V1 0.25, labels alone", "mobilenet_v1", 0.25, "none", ()),
        ("V1 0.25, with the first as teacher", "mobilenet_v1", 0.25, "none", ("case0/best.safetensors",)),
    ]
    rows = []
    root = Path("runs") / "transfer"
    for i, (title, name, width, start, teachers) in enumerate(cases):
        network = scale(INDEX[name], width, RESOLUTION)
        asked = [root / teacher for teacher in teachers]
        train(network, data, out=root / f"case{i}", minutes=minutes, weights=start, teachers=asked, overwrite=True)
        found = evaluate(root / f"case{i}" / "best.safetensors", data, split="test")
        rows.append([title, f"{found.metric:.2%}", str(found.images)])
        print_table(f"{minutes:g} minutes each at {RESOLUTION} px, n = 1", ["", "test top-1", "images"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])))
