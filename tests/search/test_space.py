"""Points of the search space against tables written by hand, and laws that hold for all points."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from mobilenets.costs import cost
from mobilenets.errors import MisuseError
from mobilenets.search.space import STAGES, Space
from mobilenets.table import json as table_json
from mobilenets.table.lower import lower
from mobilenets.table.rows import Act, Bottleneck, Conv, DepthwiseSeparable, Linear, Pool

TASKS = ("classify", "detect", "segment")


def test_a_point_is_the_table_that_its_choices_say():
    space = Space.of("classify", 10, resolutions=(96,))
    point = space.smallest() | {
        "blocks": "bottleneck", "stage2.depth": 2, "stage2.kernel": 5, "stage2.expand": 4, "stage2.width": 1.25,
        "stage2.squeeze": 0.25, "stage2.act": "hard_swish", "head.conv": 0.5, "head.features": 640,
    }  # fmt: skip
    assert space.network(point).rows == (
        Conv(3, 16, Act.HSWISH, 2),
        # 24 x 1.25 = 30, to a multiple of 8 that keeps 90 %: 32; expansions are 4 times what enters
        Bottleneck(5, 64, 32, True, Act.HSWISH, 2),
        Bottleneck(5, 128, 32, True, Act.HSWISH, 1),
        Bottleneck(3, 64, 24, False, Act.RELU, 2),
        Bottleneck(3, 48, 40, False, Act.RELU, 2),
        Bottleneck(3, 80, 80, False, Act.RELU, 2),
        Conv(1, 480, Act.HSWISH),
        Pool(),
        Conv(1, 640, Act.HSWISH, norm=False),
        Linear(10),
    )
    rows = space.network(point | {"blocks": "separable"}).rows
    assert rows[1:4] == (
        DepthwiseSeparable(5, 32, Act.HSWISH, 2),
        DepthwiseSeparable(5, 32, Act.HSWISH, 1),
        DepthwiseSeparable(3, 24, Act.RELU, 2),
    )


def test_base_scales_stem_stages_and_head():
    rows = Space.of("classify", 10, base=0.5).network(Space.of("classify", 10, base=0.5).smallest()).rows
    # 24 x 0.5 x 0.5 = 6 -> 8; 40 -> 10 -> 16, 8 would be below 90 %; 80 -> 20 -> 24; 160 -> 40; 960 x 0.25 x 0.5 = 120
    assert [getattr(row, "out", None) for row in rows] == [8, 8, 16, 24, 40, 120, None, 10]


@pytest.mark.parametrize("task", TASKS)
def test_every_point_is_a_network_whose_table_survives_json(task: str):
    space, rng = Space.of(task, 7), random.Random(3)
    for _ in range(25):
        network, places = space.built(space.draw(rng))
        assert network.task == task and network.classes == 7
        assert len(places) == len(network.rows) == len(set(places))
        assert lower(network)
        assert table_json.loads(table_json.dumps(network)) == network


@pytest.mark.parametrize("task", TASKS)
def test_values_are_in_order_of_what_they_cost(task: str):
    space = Space.of(task, 10)
    largest = space.largest()
    for name, values in space.choices.items():
        if name.endswith(".act"):
            continue
        counted = [cost(space.network(largest | {name: value})) for value in values]
        sums = [each.params + each.macs for each in counted]
        # rounding to 8 channels may make two widths one
        assert all(less <= more for less, more in pairwise(sums)) and sums[0] < sums[-1], name
    least = cost(space.network(space.smallest()))
    drawn = [cost(space.network(space.smallest() | {name: values[-1]})) for name, values in space.choices.items()]
    assert all(each.params >= least.params and each.macs >= least.macs for each in drawn)


def test_equal_tables_have_one_canonical_point():
    space, rng = Space.of("classify", 10), random.Random(0)
    for _ in range(50):
        point = {name: rng.choice(values) for name, values in space.choices.items()}
        assert space.network(point) == space.network(space.canonical(point))
        assert space.canonical(space.canonical(point)) == space.canonical(point)
    gone = space.smallest() | {"stage1.depth": 0}
    assert space.canonical(gone | {"stage1.kernel": 7}) == space.canonical(gone | {"stage1.kernel": 3})
    assert space.canonical(gone | {"stage2.expand": 6}) == space.canonical(gone)  # separable blocks expand nothing


def test_names_follow_the_rows():
    space = Space.of("classify", 10, resolutions=(96, 128))
    small, same, wide = space.smallest(), dict(reversed(space.smallest().items())), space.smallest()
    wide["stage6.width"] = 0.75
    names = [space.network(point).name for point in (small, same, wide, small | {"resolution": 128})]
    assert names[0] == names[1] and len(set(names)) == 3


def test_narrowed_keeps_the_largest_below_a_load_and_two_values_of_each_choice():
    space = Space.of("classify", 10, resolutions=(96,))

    def load(point):
        return cost(space.network(point)).macs / 10e6

    narrow = space.narrowed(load, 4.0)
    assert load(space.largest()) > 4.0 >= load(narrow.largest())
    assert all(len(narrow.choices[n]) >= min(2, len(v)) for n, v in space.choices.items())
    assert all(set(narrow.choices[n]) <= set(values) for n, values in space.choices.items())
    assert narrow.smallest() == space.smallest()


def test_only_stages_without_stride_can_be_left_out():
    assert [0 in stage.depths for stage in STAGES] == [stage.stride == 1 for stage in STAGES]
    assert {max(stage.depths) for stage in STAGES} == {2, 4}


def test_detectors_have_the_spaces_anchors():
    space = replace(Space.of("detect", 3), anchors=((4, 6, 6, 6, 6, 6), 10, 80))
    row = space.network(space.smallest()).rows[-1]
    assert (row.anchors, row.smallest, row.largest) == space.anchors


def test_a_value_that_the_space_lacks_is_refused():
    space = Space.of("classify", 10)
    with pytest.raises(MisuseError, match=r"stage3\.kernel is 9: this search space has 3, 5, 7 there"):
        space.network(space.smallest() | {"stage3.kernel": 9})
    with pytest.raises(MisuseError, match="resolution is 'nothing'"):
        space.network({})
