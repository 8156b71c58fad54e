"""The module itself: memory, copies, print, initialisation, dropout, wording of errors."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from making import HEAVY, small, tiny
from mobilenets.costs import cost
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.model import Info, MobileNet, build, normalise, with_info
from mobilenets.model.modules import runner
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import scale
from mobilenets.table.nodes import INPUT, Convolution
from mobilenets.zoo import INDEX


@pytest.mark.parametrize("name", [n for n in INDEX if n not in HEAVY])
def test_only_values_with_a_later_reader_are_alive(name: str) -> None:
    """Weak references to every value, against liveness worked out from the nodes alone."""
    network = small(name, 0.25)
    model = MobileNet(network).eval()
    made: dict[str, weakref.ref[Tensor]] = {}

    def watched(name: str, step: int, run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*inputs: Tensor) -> Tensor:
            readers = {source for node in model.nodes[step:] for source in node.inputs}
            alive = {id(t) for ref in made.values() if (t := ref()) is not None}
            needed = {id(made[source]()) for source in readers if source in made}
            assert alive == needed, f"before {name}"
            result = run(*inputs)
            made[name] = weakref.ref(result)
            return result

        return call

    model._plan = [
        (name, watched(name, i, run), inputs, dead) for i, (name, run, inputs, dead) in enumerate(model._plan)
    ]
    with torch.inference_mode():
        output = model(torch.randn(1, 3, network.resolution, network.resolution))
    assert set(made) == {node.name for node in model.nodes}
    assert output.shape == (1, network.classes)


@pytest.mark.parametrize("name", INDEX)
def test_every_value_dies_once_at_its_last_reader(name: str) -> None:
    with torch.device("meta"):
        model = MobileNet(INDEX[name])
    died = [(value, step) for step, _, _, dead in model._plan for value in dead]
    last = {source: node.name for node in model.nodes for source in node.inputs}
    assert len(died) == len(last)
    assert dict(died) == last
    assert set(last) == {INPUT, *(node.name for node in model.nodes[:-1])}


def test_a_copy_is_equal_and_independent() -> None:
    model = tiny()
    model.dropout = 0.0
    twin = copy.deepcopy(model)
    image = torch.randn(2, 3, 64, 64)
    before = model(image)
    assert torch.equal(before, twin(image))
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.5)
    assert torch.equal(before, model(image))
    assert not torch.equal(before, twin(image))
    ours = {id(m) for m in model.modules()} | {id(p) for p in model.parameters()}
    assert not ours & ({id(m) for m in twin.modules()} | {id(p) for p in twin.parameters()})


def test_a_copy_has_a_dropout_of_its_own() -> None:
    model = tiny()
    twin = copy.deepcopy(model)
    twin.dropout = 0.9
    features = torch.ones(4, model.nodes[-1].in_features)
    name = model.nodes[-1].name
    ours, theirs = model.train().get_submodule(name), twin.train().get_submodule(name)
    assert torch.equal(ours(features), ours(features))
    assert not torch.equal(theirs(features), theirs(features))
    assert torch.equal(twin.eval().get_submodule(name)(features), ours(features))


def test_dropout_acts_only_in_training_and_can_be_set_later() -> None:
    network = scale(INDEX["mobilenet_v2"], 0.35, 32)
    model = build(network, 7, dropout=0.5)
    features = torch.ones(64, model.nodes[-1].in_features)
    classifier = model.get_submodule(model.nodes[-1].name)
    seen = classifier.train()(features)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(classifier.eval()(features)[0], classifier(features)[1])
    model.dropout = 0.0
    assert torch.equal(classifier.train()(features), classifier(features))


def test_dropout_keeps_the_mean() -> None:
    model = build(scale(INDEX["mobilenet_v3_small"], 0.35, 32), 3, dropout=0.2).train()
    classifier = model.get_submodule(model.nodes[-1].name)
    nn.init.constant_(classifier.weight, 1.0)
    outputs = classifier(torch.ones(500, classifier.in_features))
    assert outputs.mean().item() == pytest.approx(classifier.in_features, rel=0.01)
    assert (outputs != classifier.in_features).any()


def test_dropout_does_not_change_the_state_dict() -> None:
    network = scale(INDEX["mobilenet_v2"], 0.35, 32)
    assert list(build(network, dropout=0.2).state_dict()) == list(build(network).state_dict())


def test_a_model_is_freed() -> None:
    model = tiny()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", [n for n in INDEX if n not in HEAVY])
def test_print_shows_rows_and_nodes(name: str) -> None:
    model = MobileNet(small(name, 0.25))
    lines = str(model).splitlines()
    assert model.network.label in lines[0]
    assert f"{model.network.classes} classes" in lines[0]
    assert sum(line.startswith("  row") for line in lines) == len(model.network.rows)
    row = ""
    shown = {}
    for line in lines[1:]:
        if line.startswith("  row"):
            row = line.split()[0]
        else:
            address, shape = line.split()
            shown[f"{row}.{address}"] = tuple(int(v) for v in shape.split("x"))
    assert shown == {node.name: node.shape for node in model.nodes}


def test_initial_statistics() -> None:
    torch.manual_seed(0)
    model = build("mobilenet_v3_large")
    checked = 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / (module.out_channels // module.groups * module.kernel_size[0] ** 2))
            if module.weight.numel() > 4000:
                assert module.weight.std().item() == pytest.approx(std, rel=0.06), name
                assert abs(module.weight.mean().item()) < 0.06 * std, name
                checked += 1
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.02)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-3, 0.01)
            assert module.weight.eq(1).all()
            assert module.running_mean.eq(0).all()
            assert module.running_var.eq(1).all()
        if getattr(module, "bias", None) is not None:
            assert module.bias.eq(0).all(), name
    assert checked > 20


def test_a_seed_gives_the_same_model() -> None:
    def made() -> list[Tensor]:
        torch.manual_seed(3)
        return list(build(scale(INDEX["mobilenet_v1"], 0.25, 32)).parameters())

    assert all(torch.equal(a, b) for a, b in zip(made(), made(), strict=True))


def test_classes_by_number_and_by_name() -> None:
    network = scale(INDEX["mobilenet_v1"], 0.25, 32)
    assert build(network, 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    named = build(network, ["cat", "dog"])
    assert named.info.classes == ("cat", "dog")
    assert named.network.classes == 2
    assert cost(named.network).params == sum(p.numel() for p in named.parameters())


def test_other_sizes_run_where_padding_is_symmetric() -> None:
    model = tiny()
    assert model(torch.randn(2, 3, 96, 80)).shape == (2, 3)


def test_the_input_is_not_written_to() -> None:
    for name in ("mobilenet_v3_small", "xception", "googlenet"):
        network = small(name, 0.25)
        image = torch.randn(1, 3, network.resolution, network.resolution)
        kept = image.clone()
        MobileNet(network).eval()(image)
        assert torch.equal(image, kept)


def test_taps_are_the_values_on_the_way() -> None:
    model = tiny()
    image = torch.randn(2, 3, 64, 64)
    taps = model.taps(image, ["row01.conv.bn", "row01.conv.act", model.nodes[-1].name])
    torch.testing.assert_close(taps["row01.conv.act"], nn.functional.hardswish(taps["row01.conv.bn"]))
    assert torch.equal(taps[model.nodes[-1].name], model(image))


def test_unknown_tap_offers_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"row02\.depthwise\.conv"):
        tiny().taps(torch.zeros(1, 3, 64, 64), ["row02.depthwize.conv"])


def test_misuse_is_told() -> None:
    network = scale(INDEX["mobilenet_v1"], 0.25, 32)
    with pytest.raises(UnknownNameError, match="mobilenet_v3_small"):
        build("mobilenet_v3_smal")
    with pytest.raises(MisuseError, match="must differ"):
        build(network, ["cat", "cat"])
    with pytest.raises(MisuseError, match="at least 1"):
        build(network, 0)
    with pytest.raises(MisuseError, match=r"=224.*=32"):
        build(network, preprocessing=Preprocessing(224))


def test_normalise_of_bytes_and_of_floats_agree() -> None:
    wanted = Preprocessing(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    image = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    result = normalise(image, wanted)
    by_hand = (image.double() / 255 - torch.tensor(wanted.mean)) / torch.tensor(wanted.std)
    torch.testing.assert_close(result, by_hand.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(normalise(image.permute(0, 3, 1, 2) / 255, wanted), result)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_with_info_changes_only_what_is_named() -> None:
    model = tiny()
    assert with_info(model, metrics={"top1": 0.5}) is model
    assert model.info == Info(("cat", "dog", "owl"), Preprocessing(64), {"top1": 0.5}, {})


@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_of_a_strided_pointwise_convolution_of_few_channels(groups: int) -> None:
    """In the layout that trainings use; by hand: each gradient is a product of what is read and what comes back."""
    node = Convolution("row01.conv", (INPUT,), (8, 16, 16), 4, 1, 2, 1, groups, (0, 0, 0, 0), False)
    module = runner(node, in_place=False)
    assert isinstance(module, nn.Conv2d)
    x = torch.randn(32, 4, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    out = module.to(memory_format=torch.channels_last)(x)
    back = torch.randn_like(out)
    (out * back).sum().backward()
    read = x.detach()[:, :, ::2, ::2].unflatten(1, (groups, 4 // groups))
    found = torch.einsum("ngihw,ngohw->goi", read, back.unflatten(1, (groups, 8 // groups))).flatten(0, 1)
    assert out.shape == (32, 8, 16, 16) and module.weight.grad is not None and x.grad is not None
    torch.testing.assert_close(module.weight.grad[:, :, 0, 0], found, rtol=1e-4, atol=1e-3)
    assert (x.grad[:, :, 1::2] == 0).all() and (x.grad[:, :, ::2, ::2] != 0).any()
