"""One way in: a network that starts from whatever weights a source names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.errors import CheckpointError
from mobilenets.model import MobileNet, load, with_info
from mobilenets.model.store import FORMAT, read_safetensors
from mobilenets.table import scale
from mobilenets.table.rows import BoxPredictor, Network, with_classes
from mobilenets.weights.channels import with_channels
from mobilenets.weights.fetch import resolve
from mobilenets.weights.heads import on_backbone
from mobilenets.weights.inherit import inherit, shared_rows
from mobilenets.weights.load import load_weights
from mobilenets.weights.names import ORIGINS
from mobilenets.weights.published import Published, published_for
from mobilenets.zoo import INDEX

WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25, 1.3, 1.4)
"""Widths that anyone has published weights of."""


def pretrained(
    network: Network,
    source: str | Path,
    *,
    classes: int | Sequence[str] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> MobileNet | None:
    """A network that starts from weights, in evaluation mode.

    The source may be one of our checkpoints or another project's file, of the network's width or wider (see `inherit`),
    at any resolution. A detector or a segmenter starts from one of its own kind, or from its backbone's weights with a
    head that starts anew (see `on_backbone`). Layers that give other classes start anew. `info.recipe` says what was
    done: `weights`, `origin`, `folded` (batch norm wants `restore_norm` before training), `fresh` (what starts anew),
    `inherited_from`, and `estimate` (batch norm wants `estimate_norm`; never with `folded`, where `restore_norm` does
    it).

    Args:
        network: the table to start; its padding and epsilon become those of the weights.
        source: as `resolve` takes it, or `none`.
        classes: number of outputs, or their names; None keeps the table's.
        note: told what is downloaded, and why `auto` gives nothing.

    Returns:
        None for `none`, and for `auto` where there are no weights or they cannot be had.

    Raises:
        MisuseError: no such file, a pickle, a form that is not known, or weights that are narrower than the network.
        CheckpointError: weights of another network, or a file that is damaged or cannot be had.
    """
    if source == "none" or (path := resolve(source, network, note=note)) is None:
        return None
    names = () if classes is None or isinstance(classes, int) else tuple(classes)
    table = network if classes is None else with_classes(network, classes if isinstance(classes, int) else len(names))
    _, metadata = read_safetensors(path)
    known = published_for(network) if source in ("imagenet", "auto") else None
    found = _checkpoint(path) if metadata.get("format") == FORMAT else _foreign(table, path, known)
    model = found = with_channels(found, table.in_channels)
    if table.backbone and table.backbone in (found.network.name, found.network.backbone):
        if found.network.name != table.name or shared_rows(table, found.network) < len(table.rows):
            model = on_backbone(table, found)
    elif found.network.name != table.name:
        raise CheckpointError(f"{path}: weights of {found.network.label}, which cannot start {table.label}.")
    started = inherit(table, model, classes=names)
    narrower = started.info.recipe["inherited_from"] and found.network.label
    return with_info(started, recipe={**started.info.recipe, "inherited_from": narrower})


def _checkpoint(path: Path) -> MobileNet:
    """One of our own."""
    model = load(path)
    before = model.info.recipe
    kept = {"folded": bool(before.get("folded")), "estimate": bool(before.get("estimate")), "fresh": []}
    return with_info(model, recipe={"weights": str(path), "origin": "mobilenets", **kept})


def _foreign(table: Network, path: Path, known: Published | None) -> MobileNet:
    """Another project's file: with the table's head where it has one, else a classifier."""
    if table.backbone and known is None:
        for headed in (table, _without_kernels(table)):
            try:
                return load_weights(replace(headed, in_channels=3), path)
            except CheckpointError:
                continue
    if not table.backbone:
        return _classifier(table, path, known)
    # rows of the backbone as they are printed: a head may have cut or narrowed the table's
    width, name = table.width, table.backbone
    return _classifier(scale(INDEX[name], width) if name in INDEX else replace(table, name=name), path, known)


def _without_kernels(table: Network) -> Network:
    """The same detector with prediction layers of 1x1, which TF's ssd_mobilenet_v1 has."""
    rows = (replace(row, kernel=1) if isinstance(row, BoxPredictor) else row for row in table.rows)
    return replace(table, rows=tuple(rows))


def _classifier(table: Network, path: Path, known: Published | None) -> MobileNet:
    """Another project's classifier at its own width, which is the table's, or told by trying the published ones."""
    if table.name not in INDEX or not any(table.name in origin.networks for origin in ORIGINS.values()):
        raise CheckpointError(
            f"{path}: not a mobilenets checkpoint, and no other project's names for {table.name} are known here."
        )
    if known is not None:
        network = scale(INDEX[table.name], known.width, known.resolution)
        return load_weights(network, path, origin=known.origin, conventions=known.conventions)
    table = replace(table, in_channels=3)
    first: CheckpointError | None = None
    for network in (table, *(scale(INDEX[table.name], width, table.resolution) for width in WIDTHS)):
        try:
            return load_weights(network, path)
        except CheckpointError as error:
            first = first or error
    assert first is not None
    raise first
