"""The short programs of a bundle that show other languages how an artifact is fed, filled from its metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenets.data.decode import DOWN_FIRST
from mobilenets.errors import MisuseError
from mobilenets.exports.loaders.answers import OVERLAP, SURE
from mobilenets.exports.loaders.pack import TOLERANCE
from mobilenets.files import write_text
from mobilenets.heads import anchors
from mobilenets.onnx import IMAGE
from mobilenets.page import PAGE
from mobilenets.runtime.session import Description
from mobilenets.table import json as table_json
from mobilenets.version import __version__

FILES = ("loader.py", "loader.js", "loader.html", "Loader.kt", "README.md")
"""What is written, beside `labels.json`."""
ANCHORS = "anchors.json"
"""Beside a raw detector: centre x, centre y, width and height of each, in parts of the image's."""
_MODES = {1: ("L", "grey (the luma of colours)"), 3: ("RGB", "RGB"), 4: ("RGBA", "its four channels")}
_SUPPORT = {"bilinear": 1, "bicubic": 2}


def write_loaders(folder: str | Path, artifact: str, metadata: Mapping[str, str]) -> list[Path]:
    """Write reference loaders in Python, JavaScript and Kotlin, the class names, and the bundle's README.

    Args:
        folder: of the bundle; a parity pack that lies there already is described in the README.
        artifact: name of the ONNX file in the folder.
        metadata: of the artifact, as its session has it: `classes`, `preprocessing` (JSON), `task`, `network`; of a
            detector whose boxes are not made inside, the `table`, too.

    Raises:
        MisuseError: the artifact is no ONNX file; another's runtime is not what the loaders use.
        CheckpointError: metadata without readable classes or preprocessing.
    """
    if Path(artifact).suffix != ".onnx" or Path(artifact).name != artifact:
        raise MisuseError(f"reference loaders run an .onnx file that lies beside them, got {artifact!r}.")
    folder = Path(folder)
    facts = _facts(artifact, metadata) | _pack_facts(folder)
    write_text(folder / "labels.json", json.dumps(facts["classes"], ensure_ascii=False))
    written = ["labels.json"]
    if facts["task"] == "detect" and not facts["inside"]:
        places = anchors(table_json.from_dict(json.loads(metadata["table"])))
        write_text(folder / ANCHORS, json.dumps(places.tolist()))
        written.append(ANCHORS)
    for name in FILES:
        write_text(folder / name, _filled(name, facts))
    return [folder / name for name in (*written, *FILES)]


def _facts(artifact: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the templates are filled with."""
    about = Description.of(metadata, artifact)
    classes, preprocessing = list(about.classes), about.preprocessing
    mode, mode_name = _MODES[preprocessing.channels]
    return {
        "artifact": artifact,
        "title": metadata.get("network", artifact),
        "version": __version__,
        "classes": classes,
        "class_count": len(classes),
        "several": metadata.get("task") == "multi-label",
        "mode": mode,
        "mode_name": mode_name,
        "channels": preprocessing.channels,
        "resolution": preprocessing.resolution,
        "short_side": preprocessing.short_side,
        "interpolation": preprocessing.interpolation,
        "support": _SUPPORT[preprocessing.interpolation],
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "input": IMAGE,
        "outputs": list(about.outputs),
        "output": about.outputs[0],
        "task": about.task,
        "inside": about.postprocess == "inside",
        "stretch": preprocessing.shaping == "stretch",
        "sure": SURE,
        "overlap": OVERLAP,
    }


def _pack_facts(folder: Path) -> dict[str, Any]:
    """Numbers of the parity pack, or those that one would have."""
    path = folder / "parity" / "parity.json"
    pack = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    usual = {"tolerance": TOLERANCE, "down_first": DOWN_FIRST}
    return {key: pack.get(key, value) for key, value in usual.items()} | {"pack_count": len(pack.get("images", ()))}


def _filled(name: str, facts: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("mobilenets.exports.loaders", "files"),
        autoescape=False,  # programs, not pages: each language quotes its own strings
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.globals["shared"] = _shared
    templates.filters |= {"python": repr, "kotlin": _kotlin}
    return templates.get_template(f"{name}.jinja").render(facts)


def _shared(name: str) -> str:
    """A module of the web page as a part of a plain script: what is exported there is a name of the script here."""
    text = (PAGE / name).read_text(encoding="utf-8")
    text = re.sub(r"^(import .*| \* @typedef \{import.*)\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)


def _kotlin(text: str) -> str:
    """A string literal: JSON's, without Kotlin's templates."""
    return json.dumps(text).replace("$", "\\$")
