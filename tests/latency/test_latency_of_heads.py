"""Latency of detectors and segmenters: their kernels, their tables, timing them. No timing is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilenets.costs import cost
from mobilenets.errors import MisuseError
from mobilenets.latency import LatencyTable, build_table, device, table_for, time_networks
from mobilenets.latency.artifacts import HELD_OUT, MOST_MACS, artifacts, build_set, held_out
from mobilenets.latency.kernels import Kernel, kernels
from mobilenets.latency.laws import fit_laws, rough_ms
from mobilenets.metrics import Task
from mobilenets.table import Network, lower, scale, with_classes
from mobilenets.zoo import FAMILIES, INDEX, network
from mobilenets.zoo.grid import RESOLUTIONS, WIDTHS, bodies, families

LOCAL = device("local")
HEADED: tuple[Task, ...] = ("detect", "segment")


def headed(name: str, classes: int = 3, width: float = 0.25, resolution: int = 96) -> Network:
    return with_classes(scale(network(name), width, resolution), classes)


def test_sizes_of_a_detectors_kernels() -> None:
    found = kernels(network("ssdlite_mobilenet_v2"))
    assert found["row24.classes1.anchors"] == Kernel("per_anchor", 80, 80, 1200, 1)
    assert found["row24.boxes"] == Kernel("join", 4, 4, 2034, 1)
    assert found["row24.answer"] == Kernel("sigmoids", 80, 80, 2034, 1)
    boxes, classes = found["row24.boxes"], found["row24.classes"]
    assert rough_ms(classes) < 20 * rough_ms(boxes), "a join moves values, not their squares"


def test_sizes_of_a_segmenters_kernels() -> None:
    found = kernels(replace(network("lraspp_mobilenet_v2"), resolution=256))
    assert found["row19.resize"] == Kernel("resize", 128, 128, 32, 1)
    assert found["row20.resize"] == Kernel("resize", 21, 21, 256, 1)
    assert found["row20.answer"] == Kernel("pixels", 21, 21, 256, 1)
    assert "answer" not in "".join(kernels(INDEX["mobilenet_v2"]))


@pytest.mark.parametrize("task", HEADED)
def test_the_build_set_covers_the_grid(task: Task) -> None:
    networks = build_set(task)
    assert {n.backbone for n in networks} == set(FAMILIES)
    assert {n.width for n in networks} == set(WIDTHS)
    assert {n.resolution for n in networks} == set(RESOLUTIONS[task])
    assert {n.task for n in networks} == {task}
    assert all(cost(n).macs <= MOST_MACS for n in networks)
    seen = {k.kind for n in networks for k in kernels(n).values()}
    assert seen == {"depthwise7"} | {k.kind for n in families(task) for k in kernels(n).values()}
    unseen = held_out(networks, task)
    assert len({n.label for n in unseen}) == HELD_OUT
    assert not {n.label for n in unseen} & {n.label for n in networks}


def test_output_strides_are_told_apart() -> None:
    labels = [body.label for body in bodies("segment", "mobilenet_v2")]
    assert labels == [
        "lraspp_mobilenet_v2 1 @224 os16", "raspp_mobilenet_v2 1 @224 os16", "lraspp_mobilenet_v2 1 @224 os8",
    ]  # fmt: skip


def test_v3s_detectors_have_a_halved_tail() -> None:
    assert [cost(bodies("detect", f)[0]).params < cost(network(f"ssdlite_{f}")).params for f in FAMILIES] == [
        INDEX[f].expansion_head for f in FAMILIES
    ]


@pytest.mark.parametrize("task", HEADED)
def test_parts_of_a_body_run(task: Task) -> None:
    found = artifacts(build_set(task)[::6])
    assert len({a.label for a in found}) == len(found)
    for artifact in found:
        if "rows" in artifact.label:
            assert lower(artifact.network)[-1].shape == (artifact.network.classes,)


def test_a_dilated_part_stays_dilated() -> None:
    whole = scale(bodies("segment", "mobilenet_v2")[2], 1.0, 128)
    _, *parts = artifacts([whole])
    maps = {k.size for part in parts for k in kernels(part.network).values() if k.kind.startswith("depthwise")}
    assert min(maps) == 16, "output stride 8 of 128 pixels"


@pytest.mark.parametrize("task", HEADED)
def test_what_was_not_measured_is_predicted(task: Task) -> None:
    """Laws of a made-up device, from sums alone."""

    def exact_ms(net: Network) -> float:
        return sum(1e-3 + 1.3 * rough_ms(kernel) ** 1.05 for kernel in kernels(net).values())

    built = build_set(task)
    laws = fit_laws([list(kernels(n).values()) for n in built], [exact_ms(n) for n in built])
    table = LatencyTable("d", "r", 1, "fp32", laws.entries, laws.scale, laws.coefficients, {}, task=task)
    errors = [abs(table.predict_ms(n) / exact_ms(n) - 1) for n in held_out(built, task)]
    assert np.median(errors) < 0.05 and max(errors) < 0.25


def test_a_table_of_classifiers_names_the_one_that_is_wanted() -> None:
    built = [INDEX["mobilenet_v2"], INDEX["mobilenet_v3_small"]]
    laws = fit_laws([list(kernels(n).values()) for n in built], [5.0, 2.0])
    table = LatencyTable("d", "r", 1, "fp32", laws.entries, laws.scale, laws.coefficients, {})
    with pytest.raises(MisuseError, match=r"no kernel like .*resize.*latency build --task segment"):
        table.predict_ms(headed("lraspp_mobilenet_v2"))


def test_tables_of_tasks_lie_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path))
    small = [headed("ssdlite_mobilenet_v3_small"), headed("ssdlite_mobilenet_v1")]
    with LOCAL.connect() as link:
        table = build_table(LOCAL, link, small, task="detect", check=[headed("ssdlite_mobilenet_v1", 5)])
    assert table.key.endswith(" | detectors") and table.error is not None
    table.write(tmp_path / "d.json")
    assert LatencyTable.read(tmp_path / "d.json") == table
    from mobilenets.latency import write_table

    write_table(table, tmp_path)
    assert table_for(LOCAL, task="detect") == table, "from the cache"
    assert replace(table, task="classify").key != table.key
    assert sum(table.by_row(small[0]).values()) == pytest.approx(table.predict_ms(small[0]))
    (tmp_path / "x.json").write_text((tmp_path / "d.json").read_text().replace('"detect"', '"detekt"'))
    with pytest.raises(MisuseError, match="its task is 'detekt'"):
        LatencyTable.read(tmp_path / "x.json")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_heads_are_timed(precision: str) -> None:
    nets = [headed("ssdlite_mobilenet_v2"), headed("lraspp_mobilenet_v3_small"), headed("deeplabv3_mobilenet_v1")]
    found = time_networks(LOCAL, nets, precision=precision, runs=5, limit_s=0.05)  # type: ignore[arg-type]
    assert all(latency.median_ms > 0 and latency.precision == precision for latency in found)
