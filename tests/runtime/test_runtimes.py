"""Each runtime on a real file of its own: what it says of itself, and one clear line where it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from making import stripes
from mobilenets.errors import CheckpointError, MissingExtraError, MisuseError, UnknownNameError
from mobilenets.exports.fresh import run_fresh
from mobilenets.exports.verify import probabilities
from mobilenets.model import MobileNet
from mobilenets.runtime import describe, open_artifact, runtimes_of

Made = Callable[..., Path]

OWN = [
    (".onnx", "onnxruntime"),
    (".xml", "openvino"),
    (".tflite", "litert"),
    (".pte", "executorch"),
    (".pt2", "pytorch"),
]
PACKAGES = {"openvino": "openvino", "litert": "ai_edge_litert.interpreter", "executorch": "executorch.runtime"}


@pytest.mark.parametrize(("suffix", "runtime"), OWN)
def test_a_session_of_each_runtime(suffix: str, runtime: str, artifact_of: Made, toy: MobileNet) -> None:
    path = artifact_of(suffix)
    session = open_artifact(path, threads=1)
    assert session.runtime == runtime == runtimes_of(path)[0]
    assert describe(session) == {"runtime": f"{runtime} {session.version}", "threads": 1, "precision": "fp32"}
    assert session.version[0].isdigit()
    assert session.classes == toy.info.classes
    assert session.preprocessing == toy.info.preprocessing
    assert session.task == "classify"
    assert session.batch == (1 if suffix in (".tflite", ".pte") else None)
    images = stripes(5, seed=3)[0]
    found = session.run(images)
    assert found.shape == (5, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, probabilities(toy, images), atol=1e-4)
    again = session.run(images[3:4])
    np.testing.assert_allclose(again, found[3:4], atol=1e-5)
    np.testing.assert_allclose(found, probabilities(toy, images), atol=1e-4), "a later run writes over nothing"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino_reads_onnx(precision: str, artifact_of: Made, toy: MobileNet) -> None:
    session = open_artifact(artifact_of(".onnx", precision), runtime="openvino")
    assert session.runtime == "openvino"
    assert session.precision == precision
    images = stripes(6, seed=3)[0]
    np.testing.assert_allclose(
        session.run(images), probabilities(toy, images), atol={"fp32": 1e-4, "int8": 0.3}[precision]
    )


def test_openvino_computes_in_fp32_unless_asked(artifact_of: Made, toy: MobileNet) -> None:
    """In processes of their own: OpenVINO in both precisions beside torch corrupted the memory of a later training."""
    images = stripes(12, seed=3)[0]
    expected = probabilities(toy, images)
    plain, short = (run_fresh(artifact_of(".xml"), images, runtime="openvino", precision=p) for p in (None, "bf16"))
    assert (plain.precision, short.precision) == ("fp32", "bf16")
    assert np.abs(plain.probabilities - expected).max() < 1e-4
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file() and "avx512_bf16" in cpu.read_text(encoding="utf-8"):  # else it computes in fp32 all the same
        assert np.abs(short.probabilities - expected).max() > 1e-4
    mixed = run_fresh(artifact_of(".xml", "int8"), images, runtime="openvino", precision="bf16")
    assert mixed.precision == "int8+bf16"


@pytest.mark.parametrize(("suffix", "runtime"), [pair for pair in OWN if pair[0] != ".xml"])
def test_arithmetic_that_a_runtime_does_not_have(suffix: str, runtime: str, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"computes float operators in fp32 here, not in 'bf16'.*openvino"):
        open_artifact(tmp_path / f"m{suffix}", precision="bf16")
    with pytest.raises(UnknownNameError, match="precision 'f16'"):
        open_artifact(tmp_path / "m.xml", precision="f16")


def test_the_wrong_runtime(tmp_path: Path) -> None:
    with pytest.raises(
        MisuseError, match=r"litert does not read .*m\.onnx: \.onnx files run in onnxruntime or openvino"
    ):
        open_artifact(tmp_path / "m.onnx", runtime="litert")
    with pytest.raises(UnknownNameError, match=r"'openvine'. Did you mean openvino"):
        open_artifact(tmp_path / "m.onnx", runtime="openvine")


@pytest.mark.parametrize(("suffix", "runtime"), OWN)
@pytest.mark.parametrize("content", [b"", b"garbage" * 40, b"PK\x03\x04" + bytes(60)])
def test_broken_files(suffix: str, runtime: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    with pytest.raises(MisuseError, match="no such file"):
        open_artifact(path)
    path.write_bytes(content)
    try:
        with pytest.raises(CheckpointError) as caught:
            open_artifact(path)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_ir_without_its_weights(artifact_of: Made, tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_bytes(artifact_of(".xml").read_bytes())
    with pytest.raises(CheckpointError, match=r"m\.xml: OpenVINO cannot"):
        open_artifact(path)


def test_pickles_in_an_archive_are_refused(artifact_of: Made, tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(artifact_of(".pt2")) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry).replace(b'"use_pickle": false', b'"use_pickle": true'))
    with pytest.raises(CheckpointError, match="holds pickles, which can run code"):
        open_artifact(path)


@pytest.mark.parametrize("runtime", PACKAGES)
def test_a_missing_runtime_answers_with_its_pip_line(
    runtime: str, artifact_of: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = next(suffix for suffix, name in OWN if name == runtime)
    path = artifact_of(suffix)
    monkeypatch.setitem(sys.modules, PACKAGES[runtime], None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'mobilenets\[{runtime}\]'"):
        open_artifact(path)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".tflite"])
def test_runtimes_run_without_torch(suffix: str, artifact_of: Made) -> None:
    code = (
        "import sys, numpy as np\nfrom mobilenets.runtime import open_artifact\n"
        f"s = open_artifact({str(artifact_of(suffix))!r})\n"
        "s.run(np.zeros((1, 32, 32, 3), np.uint8))\nprint('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
    assert ran.stderr == "", "and say nothing"


def test_a_fresh_process_says_what_ran(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    images = stripes(20, seed=3)[0]
    ran = run_fresh(artifact_of(".onnx"), images, runtime="openvino", precision="bf16")
    assert ran.precision == "bf16"
    assert ran.runtime.startswith("openvino ")
    assert ran.probabilities is not None and ran.probabilities.shape == (20, 3)
    assert ran.metadata["network"] == "toy"
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"bad\.onnx: ONNX Runtime cannot load it"):
        run_fresh(bad, images)
    with pytest.raises(MisuseError, match="does not read"):
        run_fresh(artifact_of(".onnx"), images, runtime="litert")
