"""The table of published weights: against the index, the origins and the published results."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from mobilenets.costs import cost
from mobilenets.preprocessing import Interpolation
from mobilenets.table import scale
from mobilenets.table.rows import Padding
from mobilenets.weights import ORIGINS, PUBLISHED, published_for
from mobilenets.weights.published import Published
from mobilenets.zoo import INDEX


def label(entry: Published) -> str:
    return f"{entry.network} {entry.width}"


@pytest.mark.parametrize("entry", PUBLISHED, ids=label)
def test_an_entry_is_of_a_known_network_and_origin(entry: Published) -> None:
    network = scale(INDEX[entry.network], entry.width, entry.resolution)
    assert entry.network in ORIGINS[entry.origin].networks
    assert published_for(network) is entry
    assert entry.interpolation in get_args(Interpolation) and entry.padding in get_args(Padding)
    assert 0.7 < entry.crop <= 1 and 50 < entry.top1 < 90
    assert len(entry.mean) == len(entry.std) == 3
    assert (entry.padding, entry.bn_eps) in {("symmetric", 1e-5), ("same", 1e-3)}
    assert entry.conventions.crop == entry.crop


@pytest.mark.parametrize("entry", [p for p in PUBLISHED if p.origin == "timm"], ids=label)
def test_timms_results_agree(reference: dict[str, Any], entry: Published) -> None:
    rows = [
        row
        for row in reference["timm_results_imagenet"]["rows"]
        if f"timm/{row['model']}" == entry.repo and row["img_size"] == entry.resolution
    ]
    assert [(r["top1"], r["crop_pct"], r["interpolation"]) for r in rows] == [
        (entry.top1, entry.crop, entry.interpolation)
    ]
    params = cost(scale(INDEX[entry.network], entry.width)).params
    assert round(params / 1e6, 2) == rows[0]["million_params"], "the table is the one that was trained"


@pytest.mark.parametrize("entry", [p for p in PUBLISHED if p.origin == "huggingface"], ids=label)
def test_slims_results_agree(reference: dict[str, Any], entry: Published) -> None:
    rows = reference[f"slim_{entry.network}"]["rows"]
    found = [r["top1"] for r in rows if (r["width"], r["resolution"]) == (entry.width, entry.resolution)]
    assert found == [entry.top1]


def test_each_network_and_width_once() -> None:
    keys = [(p.network, p.width) for p in PUBLISHED]
    assert len(keys) == len(set(keys))


def test_the_next_wider_one_serves() -> None:
    found = published_for(scale(INDEX["mobilenet_v1"], 0.5))
    assert found is not None and found.width == 0.75
    assert found.address == "hf://google/mobilenet_v1_0.75_192@refs/pr/4/model.safetensors"
    assert published_for(scale(INDEX["mobilenet_v3_large"], 1.25)) is None
    assert published_for(INDEX["mnasnet_a1"]) is None
