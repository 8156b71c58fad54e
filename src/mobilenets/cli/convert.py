"""`mobilenets convert IN OUT`."""

from __future__ import annotations

from pathlib import Path

from mobilenets.cli.output import print_json, stdout


def run(source: Path, out: Path, /, *, json: bool = False) -> None:
    """Take the tensors out of a pickle, and write them as safetensors. Nothing in the pickle is run.

    Args:
        source: a .pth, .pt or .bin file.
        out: the .safetensors file to write.
        json: one JSON object on stdout.
    """
    from mobilenets.weights import convert_pickle

    tensors = convert_pickle(source, out)
    size = out.stat().st_size
    if json:
        print_json({"weights": str(out), "tensors": len(tensors), "file_bytes": size})
    else:
        stdout().print(f"{out}: {len(tensors)} tensors, {size / 1e6:.2f} MB")
