"""An artifact in a process of its own: `python -m mobilenets.runtime.worker ARTIFACT IMAGES.npy OUT.npz`.

Nothing but the artifact's runtime is loaded, as on a device. One JSON object on stdout says what ran.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilenets.errors import MobileNetsError
from mobilenets.runtime import describe, open_artifact
from mobilenets.runtime.session import joined


def main(arguments: Sequence[str]) -> int:
    """Run the artifact on images (n, h, w, c) and write its outputs, by name."""
    parser = argparse.ArgumentParser(prog="mobilenets.runtime.worker")
    for name in ("artifact", "images", "out"):
        parser.add_argument(name)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runtime")
    parser.add_argument("--precision")
    try:
        about = _run(parser.parse_args(arguments))
    except MobileNetsError as error:
        about = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(about))
    return 1 if "error" in about else 0


def _run(asked: argparse.Namespace) -> dict[str, Any]:
    before = time.perf_counter()
    session = open_artifact(asked.artifact, threads=asked.threads, runtime=asked.runtime, precision=asked.precision)
    opened = time.perf_counter()
    images = np.load(asked.images)
    found = joined([session.outputs(images[i : i + 16]) for i in range(0, len(images), 16)])
    ran = time.perf_counter()
    np.savez(asked.out, allow_pickle=False, **found)
    return {
        **describe(session),
        "batch": session.batch,
        "metadata": dict(session.metadata),
        "open_ms": (opened - before) * 1e3,
        "image_ms": (ran - opened) * 1e3 / len(images),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
