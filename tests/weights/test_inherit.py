"""Narrower networks that start from the weights of wider ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from making import imagenet_sample, lively, small
from mobilenets.data.decode import load_image
from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet, build, normalise, with_info
from mobilenets.table import lower, scale
from mobilenets.table.nodes import Add, BatchNorm, Convolution
from mobilenets.table.rows import Network, with_classes
from mobilenets.weights import estimate_norm, inherit, load_weights
from mobilenets.zoo import INDEX

NAMES = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v4_conv_small", "mnasnet_a1",
    "mobilenet_v4_hybrid_medium", "mobile_one_s0", "dense_mobilenet_16", "squeezenet",
)  # fmt: skip
"""Residuals, squeeze-and-excite, attention, branches, concatenations, a classifier that is a convolution."""


def wide(name: str) -> MobileNet:
    torch.manual_seed(0)
    return lively(build(small(name, 1.0), 10))


def narrow(name: str, width: float = 0.5) -> Network:
    return with_classes(small(name, width), 10)


def where(part: torch.Tensor, whole: torch.Tensor) -> list[int]:
    """Which rows of `whole` the rows of `part` are."""
    return [int((whole == row).flatten(1).all(1).nonzero()[0, 0]) for row in part]


@pytest.mark.parametrize("name", NAMES)
def test_half_the_width_runs_and_is_made_of_the_source(name: str) -> None:
    source = wide(name)
    size = source.network.resolution
    model = inherit(narrow(name), source)
    assert model.network.width == 0.5 and model.info.recipe["estimate"]
    assert model.info.recipe["inherited_from"] == source.network.label
    assert model(torch.randn(2, 3, size, size)).isfinite().all()
    theirs = source.state_dict()
    for key, value in model.state_dict().items():
        if value.ndim > 0:
            assert torch.isin(value, theirs[key]).all(), f"{key} has values that the source has not"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_width_gives_the_same_tensors(name: str) -> None:
    source = wide(name)
    model = inherit(replace(source.network, resolution=source.network.resolution + 32), source)
    assert model.info.preprocessing.resolution == model.network.resolution != source.network.resolution
    theirs = source.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())
    assert not model.info.recipe["estimate"]


def kept(model: MobileNet, source: MobileNet, norm: str) -> list[int]:
    """The source's channels that a layer kept, told by its batch norm's means, which all differ."""
    theirs = source.state_dict()[f"{norm}.running_mean"]
    return where(model.state_dict()[f"{norm}.running_mean"][:, None], theirs[:, None])


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small", "mnasnet_a1"])
def test_channels_that_must_agree_do(name: str) -> None:
    """Residuals tie the outputs of their rows, depthwise convolutions input and output; readers read what is there."""
    source = wide(name)
    model = inherit(narrow(name), source)
    nodes = {node.name: node for node in model.nodes}
    norms = {node.inputs[0]: node.name for node in model.nodes if isinstance(node, BatchNorm)}

    def behind(value: str) -> list[int]:
        """Channels of a value: those of the convolution that makes it."""
        while value not in norms:
            value = nodes[value].inputs[0]
        return kept(model, source, norms[value])

    theirs = {node.name for node in source.nodes}
    ours, whole = model.state_dict(), source.state_dict()
    tied = read = 0
    for node in model.nodes:
        if isinstance(node, Add) and node.name in theirs:
            assert len({tuple(behind(value)) for value in node.inputs}) == 1, node.name
            tied += 1
        elif isinstance(node, Convolution) and node.name in norms and node.inputs[0] in nodes:
            out, enters = kept(model, source, norms[node.name]), behind(node.inputs[0])
            expected = whole[f"{node.name}.weight"][out]
            assert torch.equal(ours[f"{node.name}.weight"], expected if node.depthwise else expected[:, enters])
            assert not node.depthwise or out == enters
            read += 1
    assert tied > 2 and read > 10


def test_squeeze_and_excite_follows_its_map() -> None:
    source = wide("mobilenet_v3_small")
    model = inherit(narrow("mobilenet_v3_small"), source)
    ours, theirs = model.state_dict(), source.state_dict()
    row = next(n.name[:5] for n in model.nodes if n.name.endswith("squeeze.conv"))
    scaled = kept(model, source, f"{row}.depthwise.bn")
    squeezed = where(ours[f"{row}.squeeze.conv.bias"][:, None], theirs[f"{row}.squeeze.conv.bias"][:, None])
    assert torch.equal(ours[f"{row}.squeeze.conv.weight"], theirs[f"{row}.squeeze.conv.weight"][squeezed][:, scaled])
    assert torch.equal(ours[f"{row}.excite.conv.weight"], theirs[f"{row}.excite.conv.weight"][scaled][:, squeezed])


def test_the_strongest_channels_are_kept() -> None:
    source = wide("mobilenet_v1")
    with torch.no_grad():
        for part in ("row01.conv", "row02.depthwise"):  # tied to one another
            source.get_submodule(f"{part}.bn").weight[::2] = 9.0
    model = inherit(narrow("mobilenet_v1"), source)
    assert kept(model, source, "row01.conv.bn") == list(range(0, 32, 2))
    with torch.no_grad():  # batch norm that was folded away says nothing: the filters do
        for part in ("row01.conv", "row02.depthwise"):
            source.get_submodule(f"{part}.bn").weight.fill_(1.0)
            source.get_submodule(f"{part}.conv").weight[1::2] *= 9.0
    model = inherit(narrow("mobilenet_v1"), source)
    assert kept(model, source, "row01.conv.bn") == list(range(1, 32, 2))


def test_other_classes_start_anew() -> None:
    source = wide("mobilenet_v2")
    model = inherit(with_classes(narrow("mobilenet_v2"), 3), source)
    assert model.info.recipe["fresh"] == ["row21.linear"]
    assert inherit(narrow("mobilenet_v2"), source).info.recipe["fresh"] == []
    named = with_info(source, classes=tuple("abcdefghij"))
    assert inherit(narrow("mobilenet_v2"), named).info.classes == named.info.classes
    other = inherit(narrow("mobilenet_v2"), named, classes=tuple("qrstuvwxyz"))
    assert other.info.recipe["fresh"] == ["row21.linear"] and other.info.classes == tuple("qrstuvwxyz")


def test_a_narrow_residual_that_the_wide_one_lacks() -> None:
    """V3-Small at 0.35: 40 and 48 channels are both 16, so a residual appears."""
    source = wide("mobilenet_v3_small")
    network = narrow("mobilenet_v3_small", 0.35)
    assert {n.name for n in lower(network)} - {n.name for n in source.nodes} == {"row08.add"}
    assert inherit(network, source)(torch.randn(1, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize(("network", "message"), [
    (narrow("mobilenet_v2", 1.4), "channels, its source .*: weights go to narrower networks only"),
    (narrow("mobilenet_v3_small"), "mobilenet_v3_small 0.5 @64 cannot inherit from mobilenet_v2 1 @64: row 1 differs"),
    (replace(narrow("mobilenet_v2"), in_channels=1), "or other settings"),
])  # fmt: skip
def test_what_cannot_inherit_is_refused(network: Network, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        inherit(network, wide("mobilenet_v2"))


@pytest.mark.parametrize("name", ["mobile_former_52m", "mobilenet_edgetpu_v2_s"])
def test_groups_and_tokens_are_refused_not_mangled(name: str) -> None:
    with pytest.raises(MisuseError, match="cannot be chosen from one by one"):
        inherit(narrow(name), wide(name))


def test_statistics_are_estimated() -> None:
    """Afterwards training mode sees what evaluation sees, on the images of the estimate."""
    images = torch.randn(16, 3, 64, 64)
    model = inherit(narrow("mobilenet_v2"), wide("mobilenet_v2"), [images, images[:1]])
    assert not model.info.recipe["estimate"] and not model.training
    first = model.get_submodule("row01.conv.bn")
    made = model.taps(images, ["row01.conv.conv"])["row01.conv.conv"].transpose(0, 1).flatten(1)
    assert torch.allclose(first.running_mean, made.mean(1), atol=1e-5)
    assert torch.allclose(first.running_var, made.var(1), rtol=1e-4)
    assert first.momentum == pytest.approx(0.01)
    before = copy_of(model)
    with pytest.raises(MisuseError, match="at least one batch of two"):
        estimate_norm(model, [images[:1]])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_folded_batch_norm_is_given_back_not_estimated() -> None:
    """Estimated, a folded layer's scale would be lost: its batch norm has none."""
    source = build(small("mobilenet_v1", 1.0), 10).eval()
    source = with_info(source, recipe={"folded": True})
    asked = inherit(narrow("mobilenet_v1"), source).info.recipe
    assert asked["folded"] and not asked["estimate"]
    images = torch.randn(8, 3, 64, 64)
    neutral = inherit(narrow("mobilenet_v1"), source)
    model = inherit(narrow("mobilenet_v1"), source, [images])
    assert not model.info.recipe["folded"] and not model.info.recipe["estimate"]
    with torch.inference_mode():
        assert torch.allclose(model(images), neutral(images), atol=1e-4)
    assert model.get_submodule("row05.pointwise.bn").weight.std() > 0


def copy_of(model: MobileNet) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.slow
def test_real_weights_survive_a_narrowing(shared: Path, tmp_path: Path) -> None:
    path = shared / "weights" / "timm_mobilenetv2_100_224_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    source = load_weights("mobilenet_v2", path)
    samples = imagenet_sample(shared, tmp_path)

    def batch(chosen: list[int]) -> torch.Tensor:
        images = np.stack([load_image(samples[i].path, source.info.preprocessing) for i in chosen])
        return normalise(torch.from_numpy(images), source.info.preprocessing)

    seen, new = [batch(list(range(i, 500, 16))) for i in (1, 2)], batch(list(range(0, 500, 8)))
    model = inherit(scale(INDEX["mobilenet_v2"], 0.9), source, seen)
    with torch.inference_mode():
        found, theirs = model(new), source(new)
    right = torch.tensor([samples[i].label for i in range(0, 500, 8)])
    assert (found.argmax(1) == right).float().mean() > 0.1, "chance is 0.001"
    both = torch.stack([(found - found.mean(0)).flatten(), (theirs - theirs.mean(0)).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.3
