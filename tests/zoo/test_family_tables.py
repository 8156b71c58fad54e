"""Counts and tables of MnasNet, EdgeTPU, V4, Mobile-Former, Dense-MobileNet and MobileOne against the references."""

from __future__ import annotations

from typing import Any

import pytest

from counting import Tables, counted, millions, row, rows
from mobilenets.costs import Cost
from mobilenets.table import Act
from mobilenets.table.nodes import MatrixProduct
from mobilenets.table.rows import (
    Bottleneck,
    Conv,
    DenseBlock,
    FusedBottleneck,
    Linear,
    LiteBottleneck,
    MobileFormer,
    MobileToFormer,
    MultiQueryAttention,
    Tokens,
    UniversalBottleneck,
)
from mobilenets.zoo import published

TIMM_NAMES = {
    "mobilenetv4_conv_small": "mobilenet_v4_conv_small",
    "mobilenetv4_conv_medium": "mobilenet_v4_conv_medium",
    "mobilenetv4_conv_large": "mobilenet_v4_conv_large",
    "mobilenetv4_hybrid_medium": "mobilenet_v4_hybrid_medium",
    "mobilenetv4_hybrid_large": "mobilenet_v4_hybrid_large",
    "mnasnet_small": "mnasnet_small",
    "mnasnet": "mnasnet_b1",
    "semnasnet": "mnasnet_a1",
    "mobilenet_edgetpu": "mobilenet_edgetpu_v1",
    "mobilenet_edgetpu_v2_xs": "mobilenet_edgetpu_v2_xs",
    "mobilenet_edgetpu_v2_s": "mobilenet_edgetpu_v2_s",
    "mobilenet_edgetpu_v2_l": "mobilenet_edgetpu_v2_l",
}


def attention_macs(c: Cost) -> int:
    return sum(node.macs for node in c.nodes if isinstance(node.node, MatrixProduct))


def test_timm_family(reference: Tables) -> None:
    """To the unit, widths included; timm's counter does not see the products inside fused attention (V4 hybrids)."""
    found = 0
    for r in rows(reference, "timm_counts"):
        stem, _, width = r["model"].rpartition("_")
        name, factor = (stem, int(width) / 100) if width.isdigit() else (r["model"], 1.0)
        if name in TIMM_NAMES:
            c = counted(TIMM_NAMES[name], factor, r["input"])
            assert (c.params, c.macs - attention_macs(c)) == (r["params"], r["macs_conv_linear_matmul"]), r["model"]
            assert 2 * c.bn_channels == r["bn_running_buffers"], r["model"]
            assert (attention_macs(c) > 0) == ("hybrid" in name)
            found += 1
    assert found == 16


def test_attention_macs_by_hand() -> None:
    """V4's hybrid at 256: queries x keys x channels, twice, over 4 heads of 64; keys shrink by 2 at 16x16."""
    c = counted("mobilenet_v4_hybrid_medium")
    assert attention_macs(c) == 4 * 2 * 4 * 64 * (256 * 64 + 64 * 64)


@pytest.mark.parametrize("kind", ["a1", "b1", "small"])
def test_mnasnet(reference: Tables, kind: str) -> None:
    table = reference[f"mnasnet_{kind}"]
    check = table["computed_check"]
    c = counted(f"mnasnet_{kind}")
    assert c.macs == check["macs"]
    assert c.params in check.values()
    blocks: list[tuple[Any, ...]] = []
    before = 0
    for r in c.network.rows:
        if isinstance(r, Bottleneck):
            blocks.append((r.kernel, r.expand // before, r.out, r.stride, r.se))
        before = getattr(r, "out", before)
    printed_blocks = [
        (r["kernel"], r["expansion"], r["out"], r["stride"] if i == 0 else 1, bool(r.get("se_ratio")))
        for r in table["rows"]
        if r["op"] != "conv"
        for i in range(r["repeat"])
    ]
    assert blocks == printed_blocks


def test_mnasnet_published(reference: Tables) -> None:
    for r in rows(reference, "mnasnet_results"):
        kind = r["model"].removeprefix("MnasNet-").partition(" ")[0].lower()
        if kind in ("a1", "b1", "small"):
            c = counted(f"mnasnet_{kind}")
            assert millions(c.params) == pytest.approx(r["million_params"], abs=0.06)
            assert millions(c.macs) == pytest.approx(r["million_madds"], abs=0.7)
            assert published.top1(f"mnasnet_{kind}", 1.0, 224) == r["top1"]


@pytest.mark.parametrize("kind", ["conv_small", "conv_medium", "conv_large", "hybrid_medium", "hybrid_large"])
def test_v4_tables(reference: Tables, kind: str) -> None:
    c = counted(f"mobilenet_v4_{kind}")
    table = reference[f"mnv4_{kind}"]
    assert c.params == table["computed_check"]["params"]
    built = []
    before = 3
    for r in c.network.rows[:-1]:
        match r:
            case Conv():
                built.append(("ConvBN", None, None, r.kernel, r.stride, r.out, None))
            case FusedBottleneck():
                built.append(("FusedIB", None, None, r.kernel, r.stride, r.out, r.expand / before))
            case UniversalBottleneck():
                built.append(("UIB", r.start or 0, r.middle or 0, None, r.stride, r.out, r.expand / before))
            case MultiQueryAttention():
                attention = {"heads": r.heads, "key_dim": r.key, "kv_stride": r.kv_stride}
                built.append(("MQA", None, None, None, 1, r.out, attention))
            case _:
                built.append(("pool", None, None, None, None, None, None))
        before = getattr(r, "out", before)
    keys = ("block", "start_dw_kernel", "middle_dw_kernel", "kernel", "stride", "out", "expand_or_attn")
    assert built == [tuple(r[key] for key in keys) for r in table["rows"]]


def test_v4_table6_and_its_misprints(reference: Tables) -> None:
    """Medium and large print about 5 % fewer parameters than they have; small prints its own."""
    names = {"MNv4-Conv-S": "conv_small", "MNv4-Conv-M": "conv_medium", "MNv4-Hybrid-M": "hybrid_medium",
             "MNv4-Conv-L": "conv_large", "MNv4-Hybrid-L": "hybrid_large"}  # fmt: skip
    for r in rows(reference, "mnv4_results"):
        name = f"mobilenet_v4_{names[r['model']]}"
        c = counted(name)
        assert c.network.resolution == r["input"]
        assert published.top1(name, 1.0, r["input"]) == r["top1"]
        assert c.params == r["timm_params"]
        assert c.macs - attention_macs(c) == r["timm_macs"]
        misprinted = names[r["model"]] != "conv_small"
        assert (c.params / r["million_params"] / 1e6 > 1.04) == misprinted
        assert c.params / 2**20 == pytest.approx(r["million_params"], abs=0.15) or not misprinted
        assert c.network.errata


@pytest.mark.parametrize("size", ["26m", "52m", "96m", "151m", "214m", "294m", "508m"])
def test_mobile_former_counts(reference: Tables, size: str) -> None:
    r = row(reference, "mobileformer_models", model=f"Mobile-Former-{size.upper()}")
    c = counted(f"mobile_former_{size}")
    assert (c.params, c.macs) == (r["computed_params"], r["computed_macs_conv_linear_matmul"])
    net = c.network
    assert net.rows[0] == Tokens(r["tokens"], r["token_dim"])
    assert (net.rows[1], net.rows[-2]) == (
        Conv(3, r["stem_channels"], Act.RELU6, 2),
        Linear(r["fc_width"], Act.HSWISH, norm=True),
    )
    assert {row.groups for row in net.rows if isinstance(row, MobileFormer)} == {r["pointwise_groups"]}
    assert published.top1(net.name, 1.0, 224) == r["top1"]
    # the printed FLOPs count batch norm too
    assert millions(c.macs) == pytest.approx(r["million_flops"], rel=0.1)


@pytest.mark.parametrize("size", ["52m", "96m", "214m", "294m"])
def test_mobile_former_tables(reference: Tables, size: str) -> None:
    c = counted(f"mobile_former_{size}")
    lines = [entry for entry in c.rows if not isinstance(entry.row, Tokens | MobileToFormer)]
    table = reference[f"mobileformer_{size}"]["rows"]
    assert len(lines) == len(table)
    for entry, r in zip(lines, table, strict=True):
        made = entry.row
        shape = entry.input_shape if len(entry.input_shape) == 3 else (*entry.input_shape, 1, 1)
        assert (shape[0], shape[1]) == (r["c_in"], r["input_size"])
        assert entry.output_shape[0] == r["out"]
        if isinstance(made, MobileFormer | LiteBottleneck):
            assert (made.expand, getattr(made, "expand2", None), made.stride) == (
                r["hidden"],
                r["hidden2"],
                r["stride"],
            )
            assert ("down" in r["operator"]) == (getattr(made, "expand2", None) is not None)


@pytest.mark.parametrize(("growth", "variant"), [(16, "variant 1"), (24, "variant 2"), (32, "variant 3")])
def test_dense_mobilenet(reference: Tables, growth: int, variant: str) -> None:
    r = row(reference, "dense_mobilenet_thirdparty", variant=variant)
    for classes in (101, 1000):
        c = counted(f"dense_mobilenet_{growth}", classes=classes)
        assert (c.params, c.macs) == (r[f"params_{classes}_classes"], r[f"macs_224_{classes}_classes"])
    assert [b.growth for b in c.network.rows if isinstance(b, DenseBlock)] == r["growth_per_block"]
    assert "not known" in c.network.errata


@pytest.mark.parametrize(("size", "million_params", "giga_macs"), [
    ("s0", 2.08, 0.27), ("s1", 4.76, 0.82), ("s2", 7.81, 1.30), ("s3", 10.08, 1.89), ("s4", 14.84, 2.98),
])  # fmt: skip
def test_mobile_one_as_printed(size: str, million_params: float, giga_macs: float) -> None:
    """mmpretrain's table of the deployed networks, rounded or cut at two digits."""
    c = counted(f"mobile_one_{size}")
    assert round(millions(c.params), 2) == million_params
    assert c.macs / 1e9 == pytest.approx(giga_macs, abs=0.01)
