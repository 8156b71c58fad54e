"""`bench` and `latency`: what they print, and what they refuse. No timing is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from making import small, tiny
from mobilenets.cli import _run
from mobilenets.latency import LatencyTable
from mobilenets.latency.kernels import kernels
from mobilenets.latency.laws import fit_laws
from mobilenets.latency.table import TableError
from mobilenets.model import save
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.zoo import INDEX

SIZE = ("--width", "0.25", "--resolution", "64", "--seconds", "0.1")


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert _run(list(arguments)) == code
    return capsys.readouterr()


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    network = small("mobilenet_v1", 0.25)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(network, random_weights(network), Preprocessing(64)).SerializeToString())
    return path


def test_files_checkpoints_and_names_take_turns(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "t.safetensors"
    save(tiny(), checkpoint)
    out, _ = ran(capsys, "bench", str(artifact), str(checkpoint), "mobilenet_v2", *SIZE, "--json")
    found = json.loads(out)
    assert (found["device"], found["complete"]) == ("local", True)
    assert [model["model"] for model in found["models"]] == ["m.onnx", "t.onnx", "mobilenet_v2 0.25 @64"]
    for model in found["models"]:
        assert model["min_ms"] <= model["median_ms"] <= model["p90_ms"] <= model["p99_ms"]
        assert len(model["rounds_ms"]) == 5
        assert model["load_ms"] > 0 and model["first_ms"] > 0
        assert model["precision"] == "fp32"


def test_a_table_for_people(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    out, _ = ran(capsys, "bench", str(artifact), "--seconds", "0.1")
    assert all(word in out for word in ("local: ", "1 thread", "m.onnx", "onnxruntime ", "median", "p99", "peak MB"))


def test_sustained_tells_the_slowdown(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    out, _ = ran(capsys, "bench", str(artifact), "--sustained", "--seconds", "0.2", "--json")
    (model,) = json.loads(out)["models"]
    assert model["slowdown"] == pytest.approx(model["last_tenth_ms"] / model["first_tenth_ms"] - 1)
    assert {"temperature_c_before", "clock_mhz_after"} <= set(model)
    out, _ = ran(capsys, "bench", str(artifact), "--sustained", "--seconds", "0.2")
    assert "in the first tenth" in out


def test_int8_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = ran(capsys, "bench", "mobilenet_v1", *SIZE, "--precision", "int8", "--json")
    assert json.loads(out)["models"][0]["precision"] == "int8"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the models to time"),
        (("m.onnx",), "no such file: m.onnx"),
        (("m.zip",), "unknown kind of exported file 'm.zip'"),
        (("mobilenet_v9",), "unknown network 'mobilenet_v9'"),
        (("mobilenet_v1", "--device", "locl"), "unknown device 'locl'. Did you mean local?"),
        (("mobilenet_v1", "--device", "ssh:"), "names no host"),
        (("mobilenet_v1", "--runner", "x"), "--runner is for phones"),
        (("mobilenet_v1", "--threads", "0"), "--threads (=0)"),
        (("mobilenet_v1", "--seconds", "-1"), "--seconds (=-1)"),
        (("mobilenet_v1", "--precision", "bf16"), "bf16 is for files in OpenVINO"),
        (("m.onnx", "--precision", "int8"), "as precise as it was exported"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    out, err = ran(capsys, "bench", *arguments, code=2)
    assert not out
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    networks = [INDEX["mobilenet_v3_small"], INDEX["mobilenet_v2"]]
    laws = fit_laws([list(kernels(network).values()) for network in networks], [2.0, 5.0])
    made = LatencyTable("Board", "onnxruntime 1", 1, "fp32", laws.entries, laws.scale, laws.coefficients, {"a": 2.0})
    path = tmp_path_factory.mktemp("table") / "board.json"
    replace(made, error=TableError.of({"a": (1.1, 1.0)})).write(path)
    return path


def test_predict(capsys: pytest.CaptureFixture[str], table: Path) -> None:
    out, _ = ran(capsys, "latency", "predict", "mobilenet_v3_small", "--table", str(table), "--json")
    found = json.loads(out)
    assert found["predicted_ms"] == pytest.approx(2.0, rel=0.1)
    assert sum(row["ms"] for row in found["rows"]) == pytest.approx(found["predicted_ms"])
    assert (found["device"], found["error_median"]) == ("Board", pytest.approx(0.1))
    out, _ = ran(capsys, "latency", "predict", "mobilenet_v3_small", "--width", "0.5", "--table", str(table))
    assert "mobilenet_v3_small 0.5 @224" in out
    assert "Board | onnxruntime 1 fp32 | 1 thread" in out
    assert "10.0% median" in out


def test_predict_refuses(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("alexnet", "--table", str(table)), "no kernel like"),
        (("mobilenet_v2", "--table", str(tmp_path / "none.json")), "no such file"),
        (("mobilenet_v2",), "--table"),
    ):
        _, err = ran(capsys, "latency", "predict", *arguments, code=2)
        assert words in err
