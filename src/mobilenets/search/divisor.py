"""What channels are rounded to: learned from what the device runs fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mobilenets.latency.kernels import Kernel
from mobilenets.latency.table import LatencyTable
from mobilenets.search.widths import Dimension, with_width
from mobilenets.table.rows import Network

STEPS = (2, 4, 8, 16, 32)
"""Steps of channels that vector units and packed layouts have."""
WIDEST = 64
"""Widths that are looked at: beyond, a step of 32 and less is a small part of any width."""
OTHER, SIZE = 64, 14
"""Channels on the other side of a typical kernel, and the height of its map."""


def learned_divisor(table: LatencyTable) -> int:
    """The step of channels that a device's table shows: pointwise convolutions in and out, and depthwise ones.

    By its laws alone: a measured kernel beside a predicted one would be a jump that the device does not make.
    """
    table = replace(table, entries={})
    typical = [("conv1", OTHER, None), ("conv1", None, OTHER), ("depthwise3", 1, None), ("depthwise5", 1, None)]
    known = [(kind, a, b) for kind, a, b in typical if kind in table.laws]

    def time_ms(width: int) -> float:
        return sum(table.kernel_ms(Kernel(kind, a or width, b or width, SIZE, 1)) for kind, a, b in known)

    return divisor_of(time_ms) if known else 1


def divisor_of(time_ms: Callable[[int], float], divisor: int = 1, *, first: int = 1) -> int:
    """The largest step whose multiples are the only widths worth having.

    Between two multiples of a step s, a width that is k above the lower one should save (s - k) / s of what the whole
    step saves. It is worth having where it saves at least a third of that, over all widths up to 64 with the same k.
    The steps 2, 4, 8, 16, 32 are tried in turn, until one has such widths between its multiples: a device whose time
    rises with every eighth channel gives 8, one that is slow at odd widths alone gives 2, one whose time is in
    proportion to the channels gives 1. A third, not half: where noise decides, the finer step is the safer one.

    Args:
        time_ms: of typical kernels, by their width, or of a network, by how far its widths are above a multiple of 64.
        divisor: only multiples of it are looked at; the answer is one of them.
        first: the smallest that has a time: 1, or 0 of networks.
    """
    times = {width: time_ms(width) for width in range(0, WIDEST + 1, divisor) if width >= first}
    for step in (step for step in STEPS if step > divisor):
        if any(_worth(times, step, k) for k in range(divisor, step, divisor)):
            break
        divisor = step
    return divisor


def _worth(times: dict[int, float], step: int, above: int) -> bool:
    """Whether widths that are so many channels above a multiple save a third of their share, or more."""
    saved = share = 0.0
    for low in range(0 if 0 in times else step, WIDEST, step):
        saved += times[low + step] - times[low + above]
        share += (times[low + step] - times[low]) * (step - above) / step
    return saved > 0 and saved >= share / 3


def probes(network: Network, ways: Sequence[Dimension], divisor: int) -> dict[int, Network]:
    """Networks that show a device's step: their wide widths all so many channels above a multiple of 64.

    Args:
        network: what is to be adapted.
        ways: its widths; those of 128 channels and more are moved.
        divisor: what the widths are multiples of.

    Returns:
        Channels above the multiple -> table; empty where no width is so large.
    """
    wide = [way for way in ways if way.width(network) >= 2 * WIDEST]
    found = {}
    for above in range(0, WIDEST + 1, divisor) if wide else ():
        probe = network
        for way in wide:
            probe = with_width(probe, way, (way.width(network) // WIDEST - 1) * WIDEST + above)
        found[above] = probe
    return found
