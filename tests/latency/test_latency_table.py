"""The latency table: which kernels a network has, what is predicted of them, how it is kept. No timing is judged."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from making import small
from mobilenets.errors import MisuseError
from mobilenets.latency import Latency, LatencyTable, benchmark, build_table, local_table, profiling, time_network
from mobilenets.latency.cache import device_key
from mobilenets.latency.measure import time_call
from mobilenets.latency.profiling import _by_kernel, _calibrate, _owners, build_set, profile
from mobilenets.latency.table import Kernel, kernels
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import lower, scale, with_classes
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


@pytest.mark.parametrize("name", INDEX)
def test_every_other_node_belongs_to_the_kernel_before_it(name: str) -> None:
    found = kernels(INDEX[name])
    owners = _owners(INDEX[name], found)
    assert set(owners.values()) == set(found)
    assert set(owners) == {"input", *(node.name for node in lower(INDEX[name]))}
    for node in lower(INDEX[name]):
        before = owners[node.inputs[0]] if node.inputs else "preprocess"
        assert owners[node.name] == (node.name if node.name in found else before)


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


def synthetic() -> LatencyTable:
    entries = {k.key: law(k) for network in build_set() for k in kernels(network).values()}
    return LatencyTable("synthetic", entries)


@pytest.mark.parametrize("network", build_set()[::3], ids=lambda n: n.label)
def test_what_was_seen_is_predicted_exactly(network) -> None:
    exact = sum(law(k) for k in kernels(network).values())
    assert synthetic().predict_ms(network) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("width", "size", "classes"), [(0.4, 176, 37), (0.6, 144, 400), (0.9, 208, 5), (1.1, 112, 1000)]
)
def test_what_was_not_seen_is_interpolated(family: str, width: float, size: int, classes: int) -> None:
    network = with_classes(scale(INDEX[family], width, size), classes)
    table = synthetic()
    found = kernels(network)
    unseen = [k for k in found.values() if k.key not in table.entries]
    assert len(unseen) > len(found) / 2
    exact = sum(law(k) for k in found.values())
    assert table.predict_ms(network) == pytest.approx(exact, rel=0.2)


def test_calibration_scales_and_adds_per_kernel() -> None:
    network = small("mobilenet_v2")
    found = kernels(network)
    entries = {k.key: 0.1 for k in found.values()}
    table = LatencyTable("synthetic", entries, overhead_ms=0.01, factor=1.5)
    assert table.predict_ms(network) == pytest.approx(len(found) * (0.1 * 1.5 + 0.01))


def test_calibration_finds_what_made_the_numbers() -> None:
    sums = [(total, n, 1.2 * total - 0.003 * n) for total, n in ((1.0, 30), (4.0, 60), (9.0, 50), (2.0, 90))]
    assert _calibrate(sums) == pytest.approx((1.2, -0.003))


def test_a_kind_that_was_never_seen_is_an_error_and_not_free() -> None:
    with pytest.raises(MisuseError, match=r"alexnet.*conv11"):
        synthetic().predict_ms(INDEX["alexnet"])


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "xception", "googlenet"])
def test_profiling_attributes_all_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small(name, 0.25)
    runs: list[tuple[float, float]] = []

    def watched(events, found, owners):
        kept = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
        begins = [e["ts"] for e in kept if e["name"].startswith("preprocess.transpose")]
        for begin, end in pairwise([*begins, math.inf]):
            of_run = [e for e in kept if begin <= e["ts"] < end]
            one = _by_kernel(of_run, found, owners)
            attributed = sum(one.get(k.key, 0.0) for k in found.values())
            runs.append((attributed, sum(e["dur"] for e in of_run) / 1e3))
        return _by_kernel(events, found, owners)

    monkeypatch.setattr(profiling, "_by_kernel", watched)
    times, whole = profile(network, threads=1, runs=5)
    found = kernels(network)
    assert whole > 0
    assert len(runs) == 5
    assert all(attributed == pytest.approx(measured, rel=0.05) for attributed, measured in runs)
    assert set(times) <= {k.key for k in found.values()}
    heavy = [k for k in found.values() if k.kind.startswith(("conv", "depthwise", "linear"))]
    assert all(times.get(k.key, 0) > 0 for k in heavy), "each convolution has a time of its own"


def test_no_event_is_lost() -> None:
    network = small("mobilenet_v3_small")
    found = kernels(network)
    names = ["preprocess.transpose", "preprocess.cast", "input", "ReorderInput_token_3", "row01.conv.act_nchwc"]
    names += ["ReorderOutput", "row02.squeeze.pool_nchwc", "row02.excite.mul", "row04.add", "row16.linear", "flat"]
    names += ["probabilities"]
    events = [
        {"cat": "Node", "name": f"{name}_kernel_time", "ts": run * 100 + i, "dur": 1000 * (i + 1)}
        for run in range(5)
        for i, name in enumerate(names)
    ]
    times = _by_kernel(events[::-1], found, _owners(network, found))
    assert sum(times.values()) == pytest.approx(sum(range(1, len(names) + 1)))
    assert times[found["preprocess"].key] == 1 + 2 + 3 + 4
    assert times[found["row01.conv.conv"].key] == 5 + 6
    assert times[found["row16.linear"].key] == 10 + 11 + 12


def test_the_build_set_covers_the_grid() -> None:
    networks = build_set()
    assert {n.name for n in networks} == set(FAMILIES)
    assert {n.width for n in networks} >= {0.25, 0.35, 0.5, 0.75, 1.0, 1.25}
    assert {n.resolution for n in networks} == {96, 128, 160, 192, 224}
    assert {n.classes for n in networks} >= {10, 1000}
    seen = {k.kind for n in networks for k in kernels(n).values()}
    assert seen == {k.kind for name in FAMILIES for k in kernels(INDEX[name]).values()}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Real builds of a small table, kept in a folder of their own; a list with one item for each build."""
    builds: list[int] = []

    def build_small(*, threads: int, on_progress: object = None) -> LatencyTable:
        builds.append(threads)
        return build_table([small("mobilenet_v3_small", 0.25), small("mobilenet_v1", 0.25)], threads=threads)

    monkeypatch.setattr(profiling, "build_table", build_small)
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    return builds


def test_the_cache_is_read_back_exactly(counted: list[int], tmp_path: Path) -> None:
    first = local_table(threads=1)
    second = local_table(threads=1)
    assert counted == [1]
    assert (second.device, second.entries, second.overhead_ms, second.factor, second.measured) == (
        first.device, first.entries, first.overhead_ms, first.factor, first.measured,
    )  # fmt: skip
    network = scale(INDEX["mobilenet_v3_small"], 0.3, 80)
    assert second.predict_ms(network) == first.predict_ms(network) > 0
    assert second.device == device_key(1)
    files = list((tmp_path / "cache").rglob("*"))
    assert [f.suffix for f in files if f.is_file()] == [".json"]


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
        {"entries": {"conv3 3 16 112 2": None}},
        {"entries": {"conv3": 1.0}},
        {"entries": {}},
        {"factor": "x"},
        {"overhead_ms": None},
    ],
)
def test_a_damaged_cache_is_built_anew(damage: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = LatencyTable(device_key(1), {"conv3 3 16 112 2": 0.1, "linear 1024 10 1 1": 0.1}, 0.0, 1.0, {"m": 1.0})
    builds: list[int] = []

    def build(**_: object) -> LatencyTable:
        builds.append(1)
        return made

    monkeypatch.setattr(profiling, "build_table", build)
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    local_table(threads=1)
    (path,) = (tmp_path / "cache").rglob("*.json")
    data = path.read_bytes()
    path.write_bytes(damage if isinstance(damage, bytes) else json.dumps(json.loads(data) | damage).encode())
    again = local_table(threads=1)
    assert len(builds) == 2
    assert again.entries == made.entries
    assert path.read_bytes() == data
    local_table(threads=1)
    assert len(builds) == 2


def test_threads_have_tables_of_their_own(counted: list[int]) -> None:
    local_table(threads=1)
    local_table(threads=2)
    local_table(threads=1)
    assert counted == [1, 2]


def test_building_tells_its_progress_and_keeps_what_it_measured() -> None:
    networks = [small("mobilenet_v3_small", 0.25), small("mobilenet_v1", 0.25)]
    told: list[tuple[int, int]] = []
    table = build_table(networks, on_progress=lambda *n: told.append(n))
    assert told == [(1, 2), (2, 2)]
    assert set(table.measured) == {network.label for network in networks}
    assert all(value > 0 for value in table.entries.values())


def test_timing_counts_its_calls() -> None:
    calls: list[int] = []
    times = time_call(lambda: calls.append(1), runs=20, warmup_s=0.0)
    assert len(times) == 20
    assert len(calls) == 25
    assert len(time_call(lambda: None, runs=100, warmup_s=0.0, limit_s=0.0)) == 10


def test_a_latency_says_of_what() -> None:
    latency = time_network(small("mobilenet_v3_small", 0.25), runs=12)
    assert latency.min_ms <= latency.median_ms <= latency.p90_ms
    assert latency.runs == 12
    assert Latency(**latency.to_dict()) == latency
    text = str(latency)
    assert all(part in text for part in ("ms median", "p90", "12 runs", "1 thread,", "onnxruntime", "fp32"))


def test_benchmark_of_a_file_and_of_a_network(tmp_path: Path) -> None:
    network = small("mobilenet_v1", 0.25)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(network, random_weights(network), Preprocessing(64)).SerializeToString())
    assert benchmark(path, runs=10).runs == benchmark(network, runs=10).runs == 10
