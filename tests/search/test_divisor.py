"""The divisor that a device's table shows, on devices made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mobilenets.latency.laws import PRIOR
from mobilenets.latency.table import LatencyTable
from mobilenets.search import dimensions, divisor_of, learned_divisor, probes
from mobilenets.zoo import INDEX

DEVICES: dict[str, tuple[Callable[[int], float], int]] = {
    "in proportion": (lambda c: c, 1),
    "a start, then in proportion": (lambda c: 100 + c, 1),
    "in blocks of 8": (lambda c: -(-c // 8), 8),
    "in blocks of 16, and a start": (lambda c: 5 - (-c // 16), 16),
    "in blocks of 32": (lambda c: -(-c // 32), 32),
    "twice as slow at odd widths": (lambda c: c * (1 + c % 2), 2),
    "twice as slow off the fours": (lambda c: c * (1 + (c % 4 > 0)), 4),
    # a quarter of its share is not worth a width off the blocks, three quarters are
    "mostly in blocks of 8": (lambda c: 0.75 * 8 * -(-c // 8) + 0.25 * c, 8),
    "mostly in proportion": (lambda c: 0.25 * 8 * -(-c // 8) + 0.75 * c, 1),
    "flat": (lambda c: 1.0, 32),
}


@pytest.mark.parametrize("name", DEVICES)
def test_devices(name: str) -> None:
    time_ms, divisor = DEVICES[name]
    assert divisor_of(time_ms) == divisor


@pytest.mark.parametrize(("block", "divisor"), [(4, 4), (16, 16), (32, 32)])
def test_multiples_of_what_is_known(block: int, divisor: int) -> None:
    asked: list[int] = []

    def time_ms(width: int) -> float:
        asked.append(width)
        return -(-width // block)

    assert divisor_of(time_ms, 4) == divisor
    assert asked == list(range(4, 65, 4))
    assert divisor_of(time_ms, 4, first=0) == divisor
    assert asked[16:] == list(range(0, 65, 4))


def test_probes_of_a_network() -> None:
    net = INDEX["mobilenet_v3_small"]
    ways = dimensions(net)
    found = probes(net, ways, 16)
    assert list(found) == [0, 16, 32, 48, 64]
    by_label = {way.label: way.width(found[16]) for way in ways}
    # 576 = 9 x 64, 288 = 4 x 64 + 32; 120 has no multiple of 64 below it to stand above
    assert (by_label["expansion of row 11"], by_label["expansion of row 10"]) == (8 * 64 + 16, 3 * 64 + 16)
    assert by_label["expansion of row 8"] == 120
    assert probes(net, ways[:6], 16) == {}  # up to 96 channels


def table(odd: float) -> LatencyTable:
    """A device whose pointwise convolutions are so much slower, in logs, where channels are no multiple of 4."""
    law = (0.0,) * (len(PRIOR) - 2) + (odd, odd)
    entries = {"conv1 64 64 14 1": 0.01}
    return LatencyTable("device", "runtime 1", 1, "fp32", entries, 1.0, {"conv1": law}, {})


def test_a_table_that_is_slow_off_the_fours() -> None:
    assert learned_divisor(table(0.8)) == 4


def test_a_table_in_proportion() -> None:
    assert learned_divisor(table(0.0)) == 1


def test_a_table_without_such_kernels() -> None:
    assert learned_divisor(LatencyTable("device", "runtime 1", 1, "fp32", {"pool 8 8 7 1": 0.1}, 1.0, {}, {})) == 1
