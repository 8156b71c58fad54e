"""Detectors and segmenters that start from weights: of their backbone, of their own kind, of other classes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from making import lively, small
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import MobileNet, build, save, with_info
from mobilenets.table import dilate, scale
from mobilenets.table.rows import HeadRow, Network, with_classes
from mobilenets.table.transforms import reduce_tail
from mobilenets.weights import inherit, load_weights, on_backbone, pretrained, restore_norm
from mobilenets.zoo import INDEX, network
from mobilenets.zoo.heads import deeplabv3, ssd, ssdlite

V2, V3 = INDEX["mobilenet_v2"], INDEX["mobilenet_v3_small"]


@pytest.fixture
def weights(shared: Path) -> Path:
    folder = shared / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture
def v2(weights: Path) -> Path:
    return weights / "timm_mobilenetv2_100_224_imagenet.safetensors"


def started(table: Network, source: Path | str, classes: list[str] | None = None) -> MobileNet:
    model = pretrained(table, source, classes=classes)
    assert model is not None and model.network.name == table.name and not model.training
    return model


def head_nodes(model: MobileNet) -> set[str]:
    """Nodes with weights from the first row of the head on."""
    first = next(i for i, row in enumerate(model.network.rows, 1) if isinstance(row, HeadRow))
    held = {key.rpartition(".")[0] for key in model.state_dict()}
    return {name for name in held if int(name[3:5]) >= first}


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("ssdlite_mobilenet_v2", 32),
        ("deeplabv3_mobilenet_v2", 16),
        ("deeplabv3_mobilenet_v2", 8),
        ("lraspp_mobilenet_v2", 16),
        ("lraspp_mobilenet_v2", 8),
    ],
)
def test_features_are_those_of_the_classifier(name: str, stride: int, v2: Path) -> None:
    """The same weights at the taps; where later strides are dilation, as in the classifier that is dilated too."""
    table = replace(network(name), resolution=160, output_stride=None if stride == 32 else stride)
    model = started(table, v2, ["one", "two", "three"])
    whole = load_weights(dilate(scale(V2, 1.0, 160), stride), v2)
    taps = ["row07.add", "row15.expand.act", "row18.project.bn"] + (["row19.conv.act"] if "ssd" in name else [])
    image = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        ours, theirs = model.taps(image, taps), whole.taps(image, taps)
        assert model(image) is not None
    for tap in taps:
        assert torch.equal(ours[tap], theirs[tap]), tap
    assert set(model.info.recipe["fresh"]) == head_nodes(model)
    assert model.info.classes == ("one", "two", "three")


def test_conventions_are_the_weights_but_the_image_is_whole(v2: Path) -> None:
    model = started(scale(network("ssdlite_mobilenet_v2"), 1.0, 192), v2, ["cat"])
    found = load_weights(V2, v2)
    assert (model.network.padding, model.network.bn_eps) == (found.network.padding, found.network.bn_eps)
    stretched = replace(found.info.preprocessing, resolution=192, crop=1.0, shaping="stretch")
    assert model.info.preprocessing == stretched
    assert model.info.task == "detect"
    told = model.info.recipe
    assert (told["weights"], told["origin"], told["folded"], told["estimate"]) == (str(v2), "timm", False, False)
    assert told["inherited_from"] is None


def test_a_narrower_detector_inherits(v2: Path) -> None:
    model = started(scale(network("ssdlite_mobilenet_v2"), 0.5, 96), v2, ["cat", "dog"])
    assert model.info.recipe["estimate"] and model.info.recipe["inherited_from"] == "mobilenet_v2 1 @224"
    assert set(model.info.recipe["fresh"]) == head_nodes(model)
    whole = load_weights(V2, v2).state_dict()
    assert torch.isin(model.state_dict()["row19.conv.conv.weight"], whole["row19.conv.conv.weight"]).all()
    assert model(torch.randn(1, 3, 96, 96)).boxes.isfinite().all()
    with pytest.raises(MisuseError, match="narrower networks only"):
        pretrained(scale(network("lraspp_mobilenet_v2"), 1.4, 96), v2)


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "mobilenet_v4_conv_small", "mobile_former_52m", "mobile_one_s0"]
)
@pytest.mark.parametrize("head", ["ssdlite", "lraspp"])
def test_our_own_classifier(name: str, head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = lively(build(small(name, 1.0), 10, training=True))
    table = with_classes(replace(network(f"{head}_{name}"), resolution=128), 3)
    model = started(table, save(source, tmp_path / "a.safetensors"))
    assert set(model.info.recipe["fresh"]) == head_nodes(model)
    first = next(key for key in source.state_dict() if key.endswith("weight"))
    assert torch.equal(model.state_dict()[first], source.state_dict()[first])
    norms = [
        m.running_mean for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and n not in head_nodes(model)
    ]
    assert norms and all(mean.abs().sum() > 0 for mean in norms if mean is not None)


def test_v3s_halved_tail_keeps_the_strongest_half(tmp_path: Path) -> None:
    source = lively(build(small("mobilenet_v3_small", 1.0), 10))
    table = replace(ssdlite(reduce_tail(V3), 3), resolution=128)
    model = started(table, save(source, tmp_path / "a.safetensors"))
    assert model.info.recipe["estimate"]
    assert model(torch.randn(1, 3, 128, 128)).boxes.isfinite().all()


def test_another_head_gives_its_backbone(tmp_path: Path) -> None:
    source = lively(build(replace(network("lraspp_mobilenet_v2"), resolution=64), 3))
    path = save(source, tmp_path / "a.safetensors")
    model = started(replace(network("ssdlite_mobilenet_v2"), resolution=64), path, ["cat"])
    key = "row18.project.conv.weight"
    assert torch.equal(model.state_dict()[key], source.state_dict()[key])
    # the segmenter has no last convolution
    assert set(model.info.recipe["fresh"]) == head_nodes(model) | {"row19.conv.conv", "row19.conv.bn"}


@pytest.mark.parametrize(
    ("name", "fresh"),
    [
        ("ssdlite_mobilenet_v3_small", [f"row18.classes{i}.conv" for i in range(1, 7)]),
        ("deeplabv3_mobilenet_v3_small", ["row15.conv.conv"]),
        ("lraspp_mobilenet_v3_small", ["row14.high.conv", "row14.low.conv"]),
    ],
)  # fmt: skip
def test_of_our_own_kind_only_the_classes_start_anew(name: str, fresh: list[str], tmp_path: Path) -> None:
    source = lively(build(replace(network(name), resolution=64), ["cat", "dog"]))
    path = save(source, tmp_path / "a.safetensors")
    same = started(source.network, path)
    assert same.info == replace(source.info, recipe=same.info.recipe) and same.info.recipe["fresh"] == []
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in same.state_dict().items())
    for classes in (["a", "b"], ["a", "b", "c"]):
        model = started(scale(source.network, 1.0, 96), path, classes)
        assert model.info.recipe["fresh"] == fresh
        kept = [k for k in model.state_dict() if k.rpartition(".")[0] not in fresh]
        assert all(torch.equal(model.state_dict()[key], source.state_dict()[key]) for key in kept)
    half = started(scale(source.network, 0.5), path)
    assert half.info.recipe["fresh"] == [] and half.info.recipe["estimate"]


def test_published_detectors_and_segmenters(weights: Path) -> None:
    file = weights / "tf_ssd_mobilenet_v1_075_300_coco.safetensors"
    table = replace(scale(ssd(INDEX["mobilenet_v1"], 90, kernel=1), 0.75), resolution=192)
    model = started(table, file, ["cat", "dog"])
    last = f"row{len(table.rows)}"
    assert model.info.recipe["fresh"] == [f"{last}.classes{i}.conv" for i in range(1, 7)]
    assert model.info.recipe["folded"] and model.info.preprocessing.shaping == "stretch"
    # prediction layers of 3x3, as the table says: the extra layers come along, the predictor starts anew
    larger = started(scale(network("ssd_mobilenet_v1"), 0.75), file, ["cat", "dog"])
    assert {name[:5] for name in larger.info.recipe["fresh"]} == {last}
    lite = started(scale(network("ssdlite_mobilenet_v1"), 0.5, 192), file, ["cat"])
    assert set(lite.info.recipe["fresh"]) == head_nodes(lite) and lite.info.recipe["folded"]
    masks = started(
        network("raspp_mobilenet_v2"), weights / "tf_deeplabv3_mobilenet_v2_513_voc.safetensors", ["a", "b"]
    )
    assert masks.info.recipe["fresh"] == ["row20.conv.conv"]
    assert masks.network.rows[-1].align and masks.info.preprocessing.crop == 1.0  # type: ignore[union-attr]
    pyramid = started(deeplabv3(V2, 5), weights / "tf_deeplabv3_mobilenet_v2_513_voc.safetensors")
    assert set(pyramid.info.recipe["fresh"]) == head_nodes(pyramid)


def test_folded_batch_norm_comes_back_but_not_in_a_head_that_starts_anew() -> None:
    source = with_info(
        build(replace(network("ssdlite_mobilenet_v1"), resolution=96), 3).eval(), recipe={"folded": True}
    )
    fresh = head_nodes(source)
    images = torch.randn(4, 3, 96, 96)
    with torch.inference_mode():
        before = source(images)
    restore_norm(source, [images], fresh=fresh)
    with torch.inference_mode():
        after = source(images)
    assert torch.allclose(before.classes, after.classes, atol=1e-4)
    assert source.get_submodule("row05.pointwise.bn").weight.std() > 0
    first = next(name for name in sorted(fresh) if name.endswith(".bn"))
    assert (source.get_submodule(first).weight == 1).all()
    given = inherit(source.network, with_info(source, recipe={"folded": True, "fresh": sorted(fresh)}), [images])
    assert (given.get_submodule(first).weight == 1).all() and not given.info.recipe["folded"]


def test_published_weights_of_the_backbone(v2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = tmp_path / "timm" / "mobilenetv2_100.ra_in1k"
    repo.mkdir(parents=True)
    shutil.copy(v2, repo / "model.safetensors")
    monkeypatch.setenv("MOBILENETS_MIRROR", str(tmp_path))
    for source in ("imagenet", "auto"):
        model = started(scale(network("lraspp_mobilenet_v2"), 1.0, 96), source, ["sky", "road"])
        assert model.info.recipe["weights"] == str(repo / "model.safetensors")
    with pytest.raises(MisuseError, match="no published weights of mnasnet_a1 are known"):
        pretrained(network("ssdlite_mnasnet_a1"), "imagenet")


def test_another_backbone_is_refused(v2: Path, tmp_path: Path) -> None:
    path = save(build(small("mobilenet_v3_small"), 3), tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match=r"weights of mobilenet_v3_small 0.35 @64, which cannot start ssdlite_mob"
    ):
        pretrained(network("ssdlite_mobilenet_v2"), path)
    with pytest.raises(CheckpointError, match="its arrays are not those of mobilenet_v1 1 @224"):
        pretrained(network("ssdlite_mobilenet_v1"), v2)
    with pytest.raises(CheckpointError, match="no other project's names for mnasnet_a1 are known here"):
        pretrained(network("ssdlite_mnasnet_a1"), v2)


def test_a_backbone_of_other_rows_is_refused() -> None:
    other = replace(V3, rows=(replace(V3.rows[0], kernel=5), *V3.rows[1:]))  # type: ignore[call-arg]
    with pytest.raises(MisuseError, match=r"(?s)cannot start ssdlite_mobilenet_v3_small.*the same operators, kernels"):
        on_backbone(network("ssdlite_mobilenet_v3_small"), build(replace(other, resolution=64), 3))
