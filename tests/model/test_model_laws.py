"""Laws that hold for every network of the index at several widths and resolutions."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from making import HEAVY, lively, small
from mobilenets.costs import cost
from mobilenets.model import MobileNet, build
from mobilenets.table import Network, dilate, scale
from mobilenets.zoo import INDEX

LIGHT = [name for name in INDEX if name not in HEAVY]
CASES = [(name, INDEX[name]) for name in INDEX] + [
    (f"{name} {width} @{size}", scale(INDEX[name], width, size))
    for name in LIGHT
    for width, size in ((0.35, 96), (0.75, 128), (1.4, 160))
]
NETWORKS = pytest.mark.parametrize("network", [n for _, n in CASES], ids=[label for label, _ in CASES])
EVERY_LIGHT = pytest.mark.parametrize("name", LIGHT)


def on_meta(network: Network) -> tuple[MobileNet, torch.Tensor]:
    """A model and an input without storage: PyTorch's own shape rules at no cost."""
    with torch.device("meta"):
        return MobileNet(network).eval(), torch.empty(1, network.in_channels, network.resolution, network.resolution)


@NETWORKS
def test_counts_and_shapes_are_pytorchs(network: Network) -> None:
    model, image = on_meta(network)
    counted = cost(network)
    assert counted.params == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as flops:
        logits = model(image)
    assert flops.get_total_flops() == 2 * counted.macs
    assert logits.shape == (1, network.classes)
    taps = model.taps(image, [node.name for node in model.nodes])
    assert {name: tuple(value.shape[1:]) for name, value in taps.items()} == {n.name: n.shape for n in model.nodes}


@NETWORKS
def test_state_dict_keys_are_node_names(network: Network) -> None:
    model, _ = on_meta(network)
    parameterless = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    addresses = [tuple(key.rsplit(".", 1)) for key in model.state_dict()]
    assert {suffix for _, suffix in addresses} <= parameterless
    nodes = [node.name for node in model.nodes]
    assert list(dict.fromkeys(name for name, _ in addresses)) == [n for n in nodes if n in {a for a, _ in addresses}]


@EVERY_LIGHT
def test_real_activations_have_the_lowered_shapes(name: str) -> None:
    network = small(name)
    model = lively(MobileNet(network))
    taps = model.taps(torch.randn(2, 3, network.resolution, network.resolution), [n.name for n in model.nodes])
    for node in model.nodes:
        assert taps[node.name].shape == (2, *node.shape), node.name
        assert taps[node.name].isfinite().all(), node.name


@EVERY_LIGHT
def test_every_parameter_has_a_gradient_and_in_place_does_not_change_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small(name, 0.25)
    torch.manual_seed(0)
    model = lively(MobileNet(network))
    building = importlib.import_module("mobilenets.model.build")  # the room has a function of this name
    activation = building._activation
    monkeypatch.setattr(building, "_activation", lambda function, in_place: activation(function, False))
    reference = MobileNet(network)
    reference.load_state_dict(model.state_dict())
    image = torch.randn(3, 3, network.resolution, network.resolution)
    grads = []
    for each in (model, reference):
        each.train()(image).logsumexp(1).sum().backward()
        grads.append({key: p.grad for key, p in each.named_parameters()})
    for key, grad in grads[0].items():
        assert grad is not None and grad.isfinite().all(), key
        assert torch.equal(grad, grads[1][key]), key
    assert any(grad.abs().max() > 0 for grad in grads[0].values())
    for key, value in model.state_dict().items():
        assert torch.equal(value, reference.state_dict()[key]), key  # running statistics too


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_networks_keep_weights_and_gain_resolution(name: str, output_stride: int) -> None:
    network = scale(INDEX[name], 0.25, 64)
    plain, dilated = MobileNet(network), MobileNet(dilate(network, output_stride))
    dilated.load_state_dict(plain.state_dict())
    taps = dilated.eval().taps(torch.randn(1, 3, 64, 64), [n.name for n in dilated.nodes])
    assert {name: tuple(v.shape[1:]) for name, v in taps.items()} == {n.name: n.shape for n in dilated.nodes}
    spatial = [value.shape[-1] for value in taps.values() if value.ndim == 4 and value.shape[-1] > 1]
    assert min(spatial) == 64 // output_stride


@pytest.mark.parametrize("size", [63, 64, 97])
def test_same_padding_has_the_lowered_shapes(size: int) -> None:
    network = replace(scale(INDEX["mobilenet_v3_small"], 0.25, size), padding="same")
    model = MobileNet(network).eval()
    taps = model.taps(torch.randn(1, 3, size, size), [n.name for n in model.nodes])
    assert {name: tuple(v.shape[1:]) for name, v in taps.items()} == {n.name: n.shape for n in model.nodes}
    assert taps["row01.conv.conv"].shape[-1] == -(-size // 2)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_small", "squeezenet"])
def test_torch_export_with_free_batch_agrees_with_eager(name: str) -> None:
    network = small(name, 0.25)
    model = lively(build(network))
    image = torch.randn(2, 3, network.resolution, network.resolution)
    exported = torch.export.export(model, (image,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},))
    run = exported.module()
    for n in (1, 2, 5):
        image = torch.randn(n, 3, network.resolution, network.resolution)
        with torch.no_grad():
            torch.testing.assert_close(run(image), model(image), atol=1e-5, rtol=1e-5)
