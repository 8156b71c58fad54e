"""A candidate's price in one pass is what counting and predicting say one after the other."""

from __future__ import annotations

import pytest

from mobilenets.costs import sizes
from mobilenets.errors import MisuseError
from mobilenets.latency import LatencyTable
from mobilenets.latency.kernels import kernels
from mobilenets.precision import Precision
from mobilenets.search import priced
from mobilenets.table import scale
from mobilenets.zoo import INDEX, network

NAMES = ["mobilenet_v1", "mobilenet_v3_large", "mobilenet_v4_hybrid_medium", "mobile_former_26m"]
HEADED = ["ssdlite_mobilenet_v3_large", "lraspp_mobilenet_v3_small", "deeplabv3_mobilenet_v2"]


def table_of(*names: str) -> LatencyTable:
    """Laws for every kind that is in some networks, and entries for half the kernels of the first."""
    found = {kernel for name in names for kernel in kernels(network(name)).values()}
    laws = {kind: (0.1 * i, *[0.02] * 12) for i, kind in enumerate(sorted({kernel.kind for kernel in found}))}
    entries = {kernel.key: 0.25 for kernel in list(kernels(network(names[0])).values())[::2]}
    return LatencyTable("d", "r", 1, "fp32", entries, 1.5, laws, {})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", [*NAMES, *HEADED])
def test_one_pass_says_what_two_say(name: str, precision: Precision) -> None:
    table, other = table_of(name), table_of(name)
    for net in (network(name), scale(network(name), 0.75)):
        assert priced(net, table, precision) == (sizes(net, precision), other.predict_ms(net))


def test_what_was_asked_before_changes_no_answer() -> None:
    table, net = table_of("mobilenet_v3_large"), INDEX["mobilenet_v3_large"]
    once = priced(net, table)
    priced(scale(net, 0.5, 160), table)
    assert priced(net, table) == once


def test_kernels_that_the_table_does_not_know_are_refused() -> None:
    with pytest.raises(MisuseError, match=r"alexnet.*no kernel like"):
        priced(INDEX["alexnet"], table_of("mobilenet_v2"))
