"""What `predict --cluster` refuses, without a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mobilenets.cli import _run
from mobilenets.cli.predict_cluster import _address, _bounds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.jpg", "--cluster", "local"], "--cluster needs --out: the folder for the Parquet files."),
        (["--cluster", "local", "--out", "o"], "no images given: name files, folders, patterns or addresses"),
        (
            ["a.jpg", "--cluster", "local", "--out", "o", "--csv"],
            "--csv, --draw and --features are not for a --cluster",
        ),
        (["a.jpg", "--cluster", "local", "--out", "o", "--workers", "many"], "--workers (=many) must be the least and"),
        (["a.jpg", "--workers", "2"], "--workers is for a --cluster."),
    ],
)
def test_misuse(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["predict", "m.onnx", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_is_told_where_ray_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from mobilenets.cli import _run\n"
        "sys.exit(_run(['predict', 'm.onnx', 'a.jpg', '--cluster', 'auto', '--out', 'o']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 2
    assert "predicting on a cluster needs ray, which is not installed: pip install 'mobilenets[ray]'" in done.stderr


def test_bounds_and_addresses() -> None:
    assert _bounds(None) is None
    assert _bounds("1:8") == (1, 8)
    assert _bounds("4") == (4, 4)
    assert _address(Path("s3://bucket/out")) == "s3://bucket/out"
    assert _address(Path("runs/out")) == Path("runs/out")
