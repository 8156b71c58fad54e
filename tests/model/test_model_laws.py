"""Laws that hold for every network of the index at several widths and resolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from making import HEAVY, lively, noise, pixels, small
from mobilenets.costs import cost
from mobilenets.model import MobileNet, build, deploy, modules, normalise
from mobilenets.table import Network, dilate, lower, scale
from mobilenets.table.nodes import INPUT
from mobilenets.zoo import INDEX

LIGHT = [name for name in INDEX if name not in HEAVY]
CASES = [(name, INDEX[name]) for name in INDEX] + [
    (f"{name} {width} @{size}", scale(INDEX[name], width, size))
    for name in LIGHT
    for width, size in ((0.35, 96), (0.75, 128), (1.4, 160))
]
NETWORKS = pytest.mark.parametrize("network", [n for _, n in CASES], ids=[label for label, _ in CASES])


def branched(network: Network) -> bool:
    """Trained otherwise than deployed."""
    return lower(network, training=True) != lower(network)


BRANCHED = pytest.mark.parametrize("name", [name for name in LIGHT if branched(INDEX[name])])
EVERY_LIGHT = pytest.mark.parametrize("name", LIGHT)


def on_meta(network: Network, *, training: bool = False) -> tuple[MobileNet, torch.Tensor]:
    """A model and an input without storage: PyTorch's own shape rules at no cost."""
    size = network.resolution
    with torch.device("meta"):
        return MobileNet(network, training=training).eval(), torch.empty(1, network.in_channels, size, size)


FORMS = [(label, network, False) for label, network in CASES] + [
    (f"{label} in training", network, True) for label, network in CASES if branched(network)
]


@pytest.mark.parametrize(
    ("network", "training"), [(net, training) for _, net, training in FORMS], ids=[label for label, *_ in FORMS]
)
def test_counts_and_shapes_are_pytorchs(network: Network, training: bool) -> None:
    model, image = on_meta(network, training=training)
    counted = cost(network, training=training)
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
        assert taps[node.name].shape[1:] == node.shape, node.name
        # what no image has reached yet has a batch of 1, which broadcasts
        assert taps[node.name].shape[0] == (2 if node.name in reached(model) else 1), node.name
        assert taps[node.name].isfinite().all(), node.name


def reached(model: MobileNet) -> set[str]:
    """Names of the nodes whose value depends on the image."""
    names = {INPUT}
    for node in model.nodes:
        if names & set(node.inputs):
            names.add(node.name)
    return names


@EVERY_LIGHT
def test_every_parameter_has_a_gradient_and_in_place_does_not_change_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small(name, 0.25)
    torch.manual_seed(0)
    model = lively(MobileNet(network, training=True))
    activation = modules.activation
    monkeypatch.setattr(modules, "activation", lambda function, in_place: activation(function, False))
    reference = MobileNet(network, training=True)
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


@pytest.mark.parametrize("name", [name for name in LIGHT if INDEX[name].padding == "symmetric"])
@pytest.mark.parametrize("times", [0.75, 1.5])
def test_images_of_another_size_go_through(name: str, times: float) -> None:
    """Training grows the resolution: nothing in a network may hold on to the table's."""
    network = scale(INDEX[name], 0.25, 64)
    model = MobileNet(network, training=True).eval()
    size = round(network.resolution * times)
    image = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        logits = model(image)
    assert logits.shape == (2, network.classes)
    other = MobileNet(replace(network, resolution=size), training=True).eval()
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(logits, other(image))


@BRANCHED
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_the_fold_keeps_outputs(name: str, padding: Any) -> None:
    network = replace(small(name), padding=padding)
    torch.manual_seed(0)
    trained = lively(MobileNet(network, training=True))
    folded = deploy(trained)
    assert folded.nodes == lower(network) != trained.nodes
    assert sum(p.numel() for p in folded.parameters()) == cost(network).params
    images = normalise(torch.from_numpy(pixels(4, network.resolution)), trained.info.preprocessing)
    before, own = noise(trained, images)
    with torch.inference_mode():
        after = folded(images)
    assert before.std() > 0.05, "outputs that are all alike would prove nothing"
    assert own.max() < 1e-3 * before.abs().max()
    assert ((before - after).abs() < (4 * own).clamp(min=1e-5)).all()
    assert deploy(folded) is folded


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium", "mobile_former_26m", "mobile_one_s0",
     "dense_mobilenet_16", "mnasnet_a1", "mobilenet_edgetpu_v2_xs", "squeezenet"],
)  # fmt: skip
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
