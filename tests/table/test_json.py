"""Tables as JSON: there and back, and what is said of a wrong one."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.table import Act, Network
from mobilenets.table.json import ROW_TYPES, dumps, from_dict, loads, read, to_dict
from mobilenets.table.rows import Bottleneck, Row
from mobilenets.zoo import INDEX, network

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(1, 4096),
    "int | None": st.none() | st.integers(1, 4096),
    "bool": st.booleans(),
    "Act": st.sampled_from(Act),
    "tuple[int, ...]": st.lists(st.integers(1, 4096), min_size=1, max_size=4).map(tuple),
}


def rows() -> st.SearchStrategy[Row]:
    """Any row of any type."""
    return st.one_of([st.builds(cls, **{f.name: _VALUES[str(f.type)] for f in fields(cls)}) for cls in get_args(Row)])


networks = st.builds(
    Network,
    name=st.text(min_size=1), paper=st.text(), rows=st.lists(rows(), min_size=1, max_size=30).map(tuple),
    resolution=st.integers(1, 4096), width=st.floats(0.01, 16), in_channels=st.integers(1, 16),
    divisor=st.integers(1, 64), head=st.sampled_from(["scaled", "full when narrow", "full"]), full_stem=st.booleans(),
    expansion_head=st.booleans(), squeeze=st.sampled_from(["expansion", "input"]), layer_scale=st.booleans(),
    padding=st.sampled_from(["symmetric", "same", "valid"]),
    bn_eps=st.floats(0, 1), bn_momentum=st.floats(0, 1), gate=st.sampled_from(Act),
    output_stride=st.none() | st.sampled_from([4, 8, 16, 32]), errata=st.text(),
)  # fmt: skip


@given(networks)
@settings(max_examples=150, deadline=None)
def test_there_and_back(net: Network) -> None:
    assert loads(dumps(net)) == net


@pytest.mark.parametrize("name", INDEX)
def test_every_network_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(dumps(INDEX[name]))
    assert read(path) == network(path) == INDEX[name]


def test_a_row_is_a_line() -> None:
    lines = dumps(network("mobilenet_v3_large")).splitlines()
    assert sum('"op"' in line for line in lines) == 20
    start = '{"op": "Bottleneck", "kernel": 5, "expand": 72, "out": 40, "se": true, "act": "relu", "stride": 2,'
    assert any(line.strip().startswith(start) for line in lines)


def test_what_is_left_out_has_its_default() -> None:
    data = {"format": "mobilenets-table/1", "name": "a", "paper": "b", "rows": [{"op": "Linear", "out": 10}]}
    assert from_dict(data).resolution == 224


def _broken(change: dict[str, Any]) -> dict[str, Any]:
    data = to_dict(replace(network("mobilenet_v3_small"), rows=(Bottleneck(3, 16, 16, True, Act.RELU),)))
    for key, value in change.items():
        target, _, name = key.rpartition(".")
        place = data["rows"][0] if target else data
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, r'expected `"format": "mobilenets-table/1"`, got \'other\''),
        ({"rows": []}, "`rows` must be a non-empty list"),
        ({"rows": 3}, "`rows` must be a non-empty list"),
        ({"rows": [3]}, "row 1: expected an object with an `op`, got 3"),
        ({"row.op": "Botleneck"}, "unknown row type in t.json, row 1: 'Botleneck'. Did you mean Bottleneck"),
        ({"row.kernal": 3}, "t.json, row 1: unknown field 'kernal'; Bottleneck has kernel, expand"),
        ({"row.out": ...}, "t.json, row 1: Bottleneck lacks out"),
        ({"row.kernel": 3.5}, "t.json, row 1, kernel: expected int, got 3.5"),
        ({"row.kernel": True}, "row 1, kernel: expected int, got True"),
        ({"row.stride": 0}, "row 1, stride: must be at least 1, got 0"),
        ({"row.out": -16}, "row 1, out: must be at least 1, got -16"),
        ({"row.se": 1}, "row 1, se: expected bool, got 1"),
        ({"row.act": "swish"}, "row 1, act: 'swish' is not one of identity, relu, relu6"),
        ({"padding": "full"}, "t.json, padding: 'full' is not one of symmetric, same, valid"),
        ({"bn_eps": "small"}, "t.json, bn_eps: expected float, got 'small'"),
        ({"width": float("nan")}, "t.json, width: must be a number from 0, got nan"),
        ({"resolution": 0}, "t.json, resolution: must be at least 1, got 0"),
        ({"name": ...}, "t.json: Network lacks name"),
        ({"rows": [{"op": "XceptionBlock", "widths": 3, "stride": 1}]}, "row 1, widths: expected a list of numbers"),
        ({"rows": [{"op": "XceptionBlock", "widths": ["a"], "stride": 1}]}, r"row 1, widths\[0\]: expected int"),
    ],
)  # fmt: skip
def test_wrong_tables_are_told_where_and_what(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        from_dict(_broken(change), where="t.json")


def test_padding_may_be_zero() -> None:
    data = _broken({"rows": [{"op": "PlainConv", "kernel": 1, "out": 8, "stride": 1, "pad": 0}]})
    assert from_dict(data).rows[0].pad == 0  # type: ignore[union-attr]


def test_near_row_types_are_offered() -> None:
    with pytest.raises(UnknownNameError) as error:
        from_dict(_broken({"row.op": "bottleneck"}))
    assert "Bottleneck" in error.value.near
    assert set(ROW_TYPES) >= {"Conv", "Bottleneck", "DepthwiseSeparable"}


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3", '{"format": 3}'])
def test_text_that_is_no_table(text: str) -> None:
    with pytest.raises(MisuseError, match=r"t\.json: not "):
        loads(text, where="t.json")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="cannot read the table"):
        read(tmp_path / "absent.json")
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(MisuseError, match="cannot read the table"):
        read(tmp_path / "image.json")


def test_json_is_plain() -> None:
    assert json.loads(json.dumps(to_dict(network("xception")))) == to_dict(network("xception"))
