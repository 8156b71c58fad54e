"""Timing artifacts on this machine: what is counted, what is said of it. No timing is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from making import pixels, small
from mobilenets.errors import DeviceError, MisuseError
from mobilenets.latency import Latency, benchmark, device, time_artifact, time_networks
from mobilenets.latency.measure import Model, interleave, loaded, probabilities
from mobilenets.latency.runner import time_call
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import open_artifact

LOCAL = device("local")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = small("mobilenet_v1", 0.25)
    path = tmp_path_factory.mktemp("measure") / "m.onnx"
    path.write_bytes(to_onnx(network, random_weights(network), Preprocessing(64)).SerializeToString())
    return path


def test_timing_counts_its_calls() -> None:
    calls: list[int] = []
    times = time_call(lambda: calls.append(1), runs=20, warmup_s=0.0)
    assert len(times) == 20
    assert len(calls) == 25
    assert len(time_call(lambda: None, runs=100, warmup_s=0.0, limit_s=0.0)) == 10
    assert len(time_call(lambda: None, runs=100, warmup_s=0.0, limit_s=0.0, least=3)) == 3


def test_a_latency_says_of_what() -> None:
    (latency,) = time_networks(LOCAL, [small("mobilenet_v3_small", 0.25)], runs=12)
    assert latency.min_ms <= latency.median_ms <= latency.p90_ms
    assert latency.runs == 15  # five rounds of three
    assert Latency(**latency.to_dict()) == latency
    text = str(latency)
    assert all(part in text for part in ("ms median", "p90", "15 runs", "1 thread,", "onnxruntime", "fp32"))


def test_a_file_alone_has_its_own_memory_and_times(artifact: Path) -> None:
    latency = time_artifact(LOCAL, artifact, seconds=0.1)
    assert latency.p99_ms is not None and latency.p90_ms <= latency.p99_ms
    assert latency.load_ms is not None and latency.load_ms > 0
    assert latency.first_ms is not None and latency.first_ms > 0
    assert latency.peak_bytes is None or 10e6 < latency.peak_bytes < 1e9
    assert len(latency.rounds_ms) == 5
    assert latency.waited is not None and 0 <= latency.waited < 1
    assert latency.spread >= 0


def test_benchmark_of_a_file_and_of_a_network(artifact: Path) -> None:
    of_file, of_network = (benchmark(m, seconds=0.1, device="local") for m in (artifact, small("mobilenet_v1", 0.25)))
    assert of_file.runtime == of_network.runtime
    assert of_file.device == of_network.device


def test_networks_one_after_the_other_over_one_connection() -> None:
    told: list[tuple[int, int]] = []
    networks = [small("mobilenet_v1", 0.25), small("mobilenet_v2", 0.35)]
    found = time_networks(LOCAL, networks, runs=10, limit_s=0.1, on_progress=lambda *n: told.append(n))
    assert [latency.precision for latency in found] == ["fp32", "fp32"]
    assert all(latency.peak_bytes is None for latency in found), "a shared process says nothing of one model"
    assert told == [(1, 2), (2, 2)]


def test_int8_is_int8() -> None:
    (latency,) = time_networks(LOCAL, [small("mobilenet_v1", 0.25)], precision="int8", runs=10, limit_s=0.1)
    assert latency.precision == "int8"


def test_models_take_turns(artifact: Path) -> None:
    models = [Model.of(artifact), Model.random(small("mobilenet_v2", 0.35))]
    with LOCAL.connect() as link, loaded(link, models, threads=1) as timings:
        seen = [[len(timing.rounds) for timing in timings] for _ in interleave(timings, rounds=3, limit_s=0.01)]
    assert seen == [[1, 1], [2, 2], [3, 3]]


def test_the_runner_computes_what_this_process_computes(artifact: Path) -> None:
    images = pixels(3, 64)
    with LOCAL.connect() as link, loaded(link, [Model.of(artifact)], threads=1) as (timing,):
        found = probabilities(timing, images, batch=2)
    np.testing.assert_array_equal(found, open_artifact(artifact).run(images))


def test_what_cannot_be_loaded(artifact: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(artifact.read_bytes()[:-5000])
    with pytest.raises(DeviceError, match=r"^local: cut\.onnx"):
        time_artifact(LOCAL, cut)
    with pytest.raises(MisuseError, match="no such file"):
        time_artifact(LOCAL, tmp_path / "none.onnx")
    with pytest.raises(MisuseError, match=r"no such file: .*ir\.bin"):
        (tmp_path / "ir.xml").write_text("<net/>")
        time_artifact(LOCAL, tmp_path / "ir.xml")


def test_a_process_that_dies_is_told_of(artifact: Path) -> None:
    with LOCAL.connect() as link:
        with pytest.raises(DeviceError, match=r"local: .*"):
            link.ask({"do": "load", "model": "m", "process": "m", "files": [("m.onnx", 0)], "threads": -3,
                      "runtime": "onnxruntime", "precision": None}, [b""])  # fmt: skip
        assert link.ask({"do": "hello"})["name"] == link.name, "others go on"
