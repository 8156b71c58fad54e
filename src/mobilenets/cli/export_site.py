"""`mobilenets export MODEL OUT --format web`: the page with models inside."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilenets.cli.output import print_json, stdout
from mobilenets.errors import MisuseError

WEB = "web"


def is_site(formats: str | None) -> bool:
    """Whether `--format` asks for the page.

    Raises:
        MisuseError: together with formats that are files.
    """
    names = [part.strip() for part in (formats or "").split(",")]
    if WEB in names and len(names) > 1:
        raise MisuseError(f"--format {formats}: web is a site, not a file: ask for it alone.")
    return names == [WEB]


def export_site(
    models: Sequence[Path], out: Path | None, precision: Any, options: dict[str, Any], *, json: bool
) -> int:
    """Write a site; checkpoints are exported to ONNX first, and proven."""
    from mobilenets.files import run_folder
    from mobilenets.web import write_site

    with tempfile.TemporaryDirectory() as folder:
        files = [_as_onnx(path, Path(folder) / str(i), precision, options) for i, path in enumerate(models)]
        site = write_site(files, out if out is not None else run_folder(None, "export"))
    if json:
        print_json({"folder": str(site.folder), "models": list(site.models), "bytes": site.bytes})
        return 0
    stdout().print(f"{site.folder}: a site with {', '.join(site.models)}, {site.bytes / 1e6:.1f} MB")
    stdout().print(f"look at it: python -m http.server -d {site.folder}")
    return 0


def _as_onnx(path: Path, folder: Path, precision: Any, options: dict[str, Any]) -> Path:
    if path.suffix.lower() == ".onnx":
        return path
    if precision == "int8":
        raise MisuseError(f"{path}: export it to .onnx in int8 first (--precision int8 --data DATA), then to a site.")
    from mobilenets.exports import export

    made = folder / f"{path.stem}.onnx"
    export(path, made, precision=precision, **options)
    return made
