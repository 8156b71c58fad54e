"""Published accuracies as data, and the estimate between them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from mobilenets.costs import cost
from mobilenets.errors import UnknownNameError
from mobilenets.table import scale
from mobilenets.zoo import INDEX
from mobilenets.zoo.published import ESTIMATED, PUBLISHED, Published, estimate_top1, fit, top1

FAMILIES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")


def of(network: str) -> list[Published]:
    return [p for p in PUBLISHED if p.network == network]


@pytest.mark.parametrize(
    ("network", "table"), [("mobilenet_v1", "slim_mobilenet_v1"), ("mobilenet_v2", "slim_mobilenet_v2")]
)
def test_slim_rows_are_those_of_the_reference(reference: dict[str, Any], network: str, table: str) -> None:
    keys = ("width", "resolution", "top1", "million_macs", "million_params")
    expected = {tuple(r[key] for key in keys) for r in reference[table]["rows"]}
    assert {(p.width, p.resolution, p.top1, p.macs_m, p.params_m) for p in of(network)} == expected


@pytest.mark.parametrize("kind", ["large", "small"])
def test_v3_rows_are_those_of_the_reference(reference: dict[str, Any], kind: str) -> None:
    keys = ("width", "resolution", "top1", "million_madds", "million_params")
    expected = {tuple(r[key] for key in keys) for r in reference["v3_table9"]["rows"] if r["kind"] == kind}
    if kind == "small":
        expected.add((1.0, 192, 65.4, 42, 2.9))
    found = {(p.width, p.resolution, p.top1, p.macs_m, p.params_m) for p in of(f"mobilenet_v3_{kind}")}
    assert found == expected


@pytest.mark.parametrize(("name", "table", "model"), [
    ("mobilenet_v1_full", "v1_table4", "Conv MobileNet"), ("mobilenet_v1_shallow", "v1_table5", "Shallow MobileNet"),
    ("googlenet", "v1_table8", "GoogleNet"), ("vgg16", "v1_table8", "VGG 16"),
    ("squeezenet", "v1_table9", "Squeezenet"), ("alexnet", "v1_table9", "AlexNet"),
])  # fmt: skip
def test_v1_paper_rows(reference: dict[str, Any], name: str, table: str, model: str) -> None:
    (r,) = [r for r in reference[table]["rows"] if r["model"] == model]
    (p,) = of(name)
    assert (p.top1, p.macs_m, p.params_m) == (r["imagenet_top1"], r["million_mult_adds"], r["million_params"])


@pytest.mark.parametrize("size", ["Large", "Small"])
def test_minimalistic_rows(reference: dict[str, Any], size: str) -> None:
    (r,) = [r for r in reference["slim_mobilenet_v3"]["rows"] if r["model"] == f"{size} minimalistic (float)"]
    (p,) = of(f"mobilenet_v3_{size.lower()}_minimalistic")
    assert (p.top1, p.macs_m, p.params_m) == (r["top1"], r["million_macs"], r["million_params"])


def test_xception_row(reference: dict[str, Any]) -> None:
    (r,) = [r for r in reference["xception_results"]["rows"] if r["model"] == "Xception"]
    assert (top1("xception", 1.0, 299), 1e6 * (of("xception")[0].params_m or 0)) == (r["top1"], r["params"])


def test_every_network_of_the_index_has_a_published_accuracy_and_no_row_stands_twice() -> None:
    unknown = {name for name in INDEX if name.startswith("dense_mobilenet")}  # its errata says so
    assert {p.network for p in PUBLISHED} == set(INDEX) - unknown
    keys = [(p.network, p.width, p.resolution) for p in PUBLISHED]
    assert len(keys) == len(set(keys)) == 99


def test_top1_is_exact_or_nothing() -> None:
    assert top1("mobilenet_v3_large", 0.75, 224) == 73.3
    assert top1("mobilenet_v3_large", 0.75, 192) is None
    assert top1("mobilenet_v9", 1.0, 224) is None


def test_printed_macs_are_near_the_counted_ones_where_no_erratum_says_otherwise() -> None:
    for p in PUBLISHED:
        if p.macs_m is not None and p.network.startswith(("mobilenet_v2", "mobilenet_v3_large")):
            counted = cost(scale(INDEX[p.network], p.width, p.resolution)).macs / 1e6
            assert counted == pytest.approx(p.macs_m, abs=1), p


def leave_one_out(network: str) -> list[float]:
    errors = []
    for left in of(network):
        a, b, c = fit([p for p in of(network) if p is not left])
        y = a + b * left.width**-0.7 + c * (left.resolution / 224) ** -0.7
        errors.append(abs(100 / (1 + math.exp(-y)) - left.top1))
    return errors


@pytest.mark.parametrize(("network", "stated"), list(zip(FAMILIES, (0.33, 0.45, 0.21, 0.76), strict=True)))
def test_leave_one_out_error_is_the_stated_one(network: str, stated: float) -> None:
    errors = leave_one_out(network)
    assert sum(errors) / len(errors) == pytest.approx(stated, abs=0.005)
    assert max(errors) < 1.8


def test_leave_one_out_error_of_all_rows() -> None:
    errors = [error for network in FAMILIES for error in leave_one_out(network)]
    assert len(errors) == 58
    assert sum(errors) / len(errors) == pytest.approx(0.43, abs=0.005)


@pytest.mark.parametrize("network", ESTIMATED)
def test_estimates_rise_with_width_and_resolution(network: str) -> None:
    widths = [0.25 + 0.05 * i for i in range(24)]
    resolutions = range(96, 257, 16)
    for resolution in resolutions:
        along = [estimate_top1(network, width, resolution) for width in widths]
        assert all(a < b for a, b in itertools.pairwise(along))
    for width in widths:
        along = [estimate_top1(network, width, resolution) for resolution in resolutions]
        assert all(a < b for a, b in itertools.pairwise(along))
        assert 0 < along[0] < along[-1] < 100


@pytest.mark.parametrize(("variant", "family"), [
    ("mobilenet_v3_large_minimalistic", "mobilenet_v3_large"),
    ("mobilenet_v3_small_minimalistic", "mobilenet_v3_small"),
])  # fmt: skip
def test_minimalistic_is_its_family_moved_by_the_published_difference(variant: str, family: str) -> None:
    published = (top1(variant, 1.0, 224) or 0) - (top1(family, 1.0, 224) or 0)
    assert estimate_top1(variant, 1.0, 224) - estimate_top1(family, 1.0, 224) == pytest.approx(published, abs=0.1)
    for width, resolution in ((0.25, 96), (0.5, 160), (1.4, 256)):
        assert estimate_top1(variant, width, resolution) < estimate_top1(family, width, resolution)


def test_no_estimate_outside_the_families() -> None:
    with pytest.raises(UnknownNameError, match="No accuracy can be estimated"):
        estimate_top1("vgg16", 1.0, 224)
