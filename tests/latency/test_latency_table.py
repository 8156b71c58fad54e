"""The latency table: which kernels a network has, how laws are fitted, how it is kept. No timing is judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from making import small
from mobilenets.errors import DeviceError, MisuseError
from mobilenets.latency import LatencyTable, build_table, building, device, table_for
from mobilenets.latency.artifacts import CLASSES, HELD_OUT, artifacts, build_set, held_out
from mobilenets.latency.cache import cache_path
from mobilenets.latency.kernels import Kernel, kernels
from mobilenets.latency.laws import Laws, fit_laws
from mobilenets.latency.table import FORMAT, TableError
from mobilenets.table import Network, lower, scale, with_classes
from mobilenets.table.folding import folded_into
from mobilenets.table.nodes import (
    Add,
    BatchNorm,
    Concat,
    Convolution,
    DynamicRelu,
    FullyConnected,
    GlobalPool,
    LayerNorm,
    MatrixProduct,
    Multiply,
    Scale,
    Shuffle,
    Softmax,
    WindowPool,
)
from mobilenets.zoo import FAMILIES, INDEX
from mobilenets.zoo.grid import RESOLUTIONS, WIDTHS

WORK = (
    Convolution,
    FullyConnected,
    GlobalPool,
    WindowPool,
    Multiply,
    Add,
    Concat,
    MatrixProduct,
    Softmax,
    LayerNorm,
    DynamicRelu,
    Shuffle,
)


@pytest.mark.parametrize("name", INDEX)
def test_every_node_that_works_is_a_kernel(name: str) -> None:
    nodes = lower(INDEX[name])
    found = kernels(INDEX[name])
    folded = folded_into(nodes)
    working = [
        n.name for n in nodes if isinstance(n, WORK) or (isinstance(n, BatchNorm | Scale) and n.name not in folded)
    ]
    assert list(found) == ["preprocess", *working]
    assert len({kernel.key for kernel in found.values()}) == len(set(found.values()))
    assert all(min(k.in_channels, k.out_channels, k.size, k.stride) >= 1 for k in found.values())


def test_sizes_of_kernels() -> None:
    found = kernels(INDEX["mobilenet_v3_large"])
    assert found["preprocess"] == Kernel("preprocess", 3, 3, 224, 1)
    assert found["row01.conv.conv"] == Kernel("conv3", 3, 16, 112, 2)
    assert found["row05.depthwise.conv"] == Kernel("depthwise5", 1, 72, 28, 2)
    assert found["row05.squeeze.pool"] == Kernel("pool", 72, 72, 28, 1)
    assert found["row05.squeeze.conv"] == Kernel("vector", 72, 24, 1, 1)
    assert found["row05.excite.mul"] == Kernel("multiply", 72, 72, 28, 1)
    assert found["row06.add"] == Kernel("add", 40, 40, 28, 1)
    assert found["row18.pool"] == Kernel("pool", 960, 960, 7, 1)
    assert found["row19.conv.conv"] == Kernel("vector", 960, 1280, 1, 1)
    assert found["row20.linear"] == Kernel("linear", 1280, 1000, 1, 1)
    assert found["row20.linear"].key == "linear 1280 1000 1 1"


def law(kernel: Kernel) -> float:
    """A device whose kernels cost a start and their products, eight channels at a time."""
    pixels = kernel.size**2
    inputs, outputs = (-(-channels // 8) * 8 for channels in (kernel.in_channels, kernel.out_channels))
    if kernel.kind.startswith("depthwise"):
        return 2e-3 + 1e-7 * int(kernel.kind[-1]) ** 2 * outputs * pixels
    work = outputs * pixels
    if kernel.kind.startswith(("conv", "vector", "linear")):
        work *= inputs
    return 2e-3 + 2.5e-8 * work


LOCAL = device("local")


def exact_ms(network: Network) -> float:
    return sum(law(kernel) for kernel in kernels(network).values())


@pytest.fixture(scope="module")
def fitted() -> Laws:
    """Laws of the synthetic device, from nothing but the times of artifacts."""
    parts = artifacts(build_set())
    return fit_laws([list(kernels(part.network).values()) for part in parts], [exact_ms(p.network) for p in parts])


@pytest.fixture(scope="module")
def synthetic(fitted: Laws) -> LatencyTable:
    return LatencyTable("synthetic", "none 1", 1, "fp32", fitted.entries, fitted.scale, fitted.coefficients, {"m": 1.0})


@pytest.mark.parametrize("network", build_set()[::3], ids=lambda n: n.label)
def test_what_was_measured_is_predicted(network: Network, synthetic: LatencyTable) -> None:
    assert synthetic.predict_ms(network) == pytest.approx(exact_ms(network), rel=0.06)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("width", "size", "classes"), [(0.4, 176, 37), (0.6, 144, 400), (0.9, 208, 5), (1.1, 112, 1000)]
)
def test_what_was_not_measured_is_interpolated(
    family: str, width: float, size: int, classes: int, synthetic: LatencyTable
) -> None:
    network = with_classes(scale(INDEX[family], width, size), classes)
    found = kernels(network)
    assert len([k for k in found.values() if k.key not in synthetic.entries]) > len(found) / 2
    assert synthetic.predict_ms(network) == pytest.approx(exact_ms(network), rel=0.2)


def test_kernels_are_told_apart_from_sums_alone(fitted: Laws) -> None:
    """No artifact is a single kernel, and yet most kernels come out near what they take."""
    errors = [abs(value / law(kernel_of(key)) - 1) for key, value in fitted.entries.items()]
    assert np.median(errors) < 0.2


def kernel_of(key: str) -> Kernel:
    kind, *sizes = key.split()
    return Kernel(kind, *(int(v) for v in sizes))


def test_one_busy_moment_moves_little(synthetic: LatencyTable) -> None:
    parts = artifacts(build_set())
    times = [exact_ms(part.network) for part in parts]
    for i in range(0, len(times), 20):
        times[i] *= 2.5
    found = fit_laws([list(kernels(part.network).values()) for part in parts], times)
    shaken = replace(synthetic, entries=found.entries, scale=found.scale, laws=found.coefficients)
    networks = held_out(build_set())
    errors = [abs(shaken.predict_ms(n) / exact_ms(n) - 1) for n in networks]
    assert np.median(errors) < 0.08


def test_rows_sum_to_the_whole(synthetic: LatencyTable) -> None:
    network = INDEX["mobilenet_v3_small"]
    rows = synthetic.by_row(network)
    assert list(rows) == list(range(len(network.rows) + 1))
    assert sum(rows.values()) == pytest.approx(synthetic.predict_ms(network))
    assert all(value > 0 for value in rows.values())


def test_a_kind_that_was_never_seen_is_an_error_and_not_free(synthetic: LatencyTable) -> None:
    with pytest.raises(MisuseError, match=r"alexnet.*conv11"):
        synthetic.predict_ms(INDEX["alexnet"])


def test_the_build_set_covers_the_grid() -> None:
    networks = build_set()
    names = {n.name for n in networks}
    assert names >= set(FAMILIES)
    # what a search may choose and no family has
    assert {name[-4:] for name in names - set(FAMILIES)} == {"_5x5", "_7x7"}
    assert {n.width for n in networks} == set(WIDTHS)
    assert {n.resolution for n in networks} == set(RESOLUTIONS["classify"])
    assert {n.classes for n in networks} == set(CLASSES["classify"])
    seen = {k.kind for n in networks for k in kernels(n).values()}
    assert seen == {"depthwise7"} | {k.kind for name in FAMILIES for k in kernels(INDEX[name]).values()}


def test_artifacts_are_whole_networks_and_parts_that_run() -> None:
    networks = build_set()
    found = artifacts(networks)
    assert len({a.label for a in found}) == len(found)
    assert [a.network for a in found if a.network in networks] == networks
    assert 2 * len(networks) < len(found) <= 3 * len(networks)
    for artifact in found:
        assert lower(artifact.network)[-1].shape == (artifact.network.classes,)


def test_held_out_networks_are_unseen_and_always_the_same() -> None:
    networks = held_out(build_set())
    assert len({n.label for n in networks}) == HELD_OUT
    assert not {n.label for n in networks} & {n.label for n in build_set()}
    assert networks == held_out(build_set())


def test_an_error_is_of_its_pairs() -> None:
    error = TableError.of({"a": (1.1, 1.0), "b": (0.8, 1.0), "c": (1.0, 1.0)})
    assert (error.median, error.p90) == pytest.approx((0.1, 0.18))
    assert str(error) == "10.0% median and 18.0% 90th percentile over 3 networks that it was not built from"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


SMALL = [small("mobilenet_v3_small", 0.25), small("mobilenet_v1", 0.25)]


def test_a_table_of_this_machine(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    with LOCAL.connect() as link:
        table = build_table(
            LOCAL, link, SMALL, check=[small("mobilenet_v1", 0.5)], on_progress=lambda *n: told.append(n)
        )
        assert table.device == link.name
        assert table.runtime == link.runtimes["onnxruntime"]
    assert told[-1][0] == told[-1][1] == len(table.measured) + len(table.measured) // building.AGAIN + 2
    assert set(table.measured) == {a.label for a in artifacts(SMALL)}
    assert all(value > 0 and math.isfinite(value) for value in (*table.entries.values(), *table.measured.values()))
    assert table.error is not None
    (label,) = table.error.networks
    assert label.startswith(small("mobilenet_v1", 0.5).label)


def test_a_build_that_was_stopped_goes_on(folder: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with LOCAL.connect() as link, pytest.raises(KeyboardInterrupt):
        build_table(LOCAL, link, [*SMALL, small("mobilenet_v2", 0.35)], check=[], on_progress=stop)
    (kept,) = folder.rglob("*.part.json")
    before = json.loads(kept.read_text())["times_ms"]
    assert len(before) == building.TOGETHER
    with LOCAL.connect() as link:
        table = build_table(LOCAL, link, [*SMALL, small("mobilenet_v2", 0.35)], check=[])
    assert set(before) < set(table.measured)
    assert all(table.measured[label] <= value for label, value in before.items())
    building.keep(table)
    assert not list(folder.rglob("*.part.json"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, folder: Path, synthetic: LatencyTable) -> list[int]:
    """Builds that give the synthetic table under this machine's name; a list with one item for each."""
    builds: list[int] = []

    def build(where, link, *, task, threads, precision, ending, on_progress=None, quick=False):
        builds.append(threads)
        return replace(
            synthetic, device=link.name, runtime=link.runtimes["onnxruntime"], threads=threads, precision=precision
        )

    monkeypatch.setattr(building, "build_table", build)
    return builds


def test_the_cache_is_read_back_exactly(counted: list[int], folder: Path) -> None:
    first, second = table_for(LOCAL), table_for(LOCAL)
    assert counted == [1]
    assert second == first
    assert [f.suffix for f in folder.rglob("*") if f.is_file()] == [".json"]


def test_threads_and_precisions_have_tables_of_their_own(counted: list[int]) -> None:
    for threads, precision in ((1, "fp32"), (2, "fp32"), (1, "int8"), (1, "fp32"), (1, "int8")):
        table = table_for(LOCAL, threads=threads, precision=precision)
        assert (table.threads, table.precision) == (threads, precision)
    assert counted == [1, 2, 1]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        {"format": -1},
        {"device": "another"},
        {"entries": None},
        {"entries": {"conv3 3 16 112 2": "fast"}},
        {"entries": {"conv3": 1.0}},
        {"entries": {}},
        {"laws": {}},
        {"laws": {"conv3": [1.0]}},
        {"scale": None},
        {"error": 3},
    ],
)
def test_a_damaged_cache_is_built_anew(damage: object, counted: list[int], folder: Path) -> None:
    table_for(LOCAL)
    (path,) = folder.rglob("*.json")
    data = path.read_bytes()
    path.write_bytes(damage if isinstance(damage, bytes) else json.dumps(json.loads(data) | damage).encode())
    table_for(LOCAL)
    assert len(counted) == 2
    assert path.read_bytes() == data


def test_a_shared_table_says_what_is_wrong_with_it(synthetic: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    synthetic.write(path)
    assert LatencyTable.read(path) == synthetic
    with pytest.raises(MisuseError, match="no such file"):
        LatencyTable.read(tmp_path / "none.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 5}))
    with pytest.raises(MisuseError, match=rf"format {FORMAT}.*format is 5.*latency build"):
        LatencyTable.read(path)


def test_the_cache_file_depends_on_the_key_alone(tmp_path: Path) -> None:
    assert cache_path(tmp_path, "a") == cache_path(tmp_path, "a") != cache_path(tmp_path, "b")


def test_a_device_without_onnxruntime() -> None:
    class Bare:
        name, cores, runtimes = "bare", 1, {}

    with pytest.raises(DeviceError, match=r"local: .*pip install numpy onnxruntime"):
        building.onnx_runtime(LOCAL, Bare())
