"""What is said where an optional library is missing: run in an interpreter that cannot find it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("missing", "extra", "given", "purpose"),
    [
        ("pyarrow", "parquet", "x.parquet", "reading Parquet files"),
        ("datasets", "datasets", "hf://datasets/a/b", "reading Hugging Face data sets"),
    ],
)
def test_missing_extras_come_with_the_pip_line(
    tmp_path: Path, missing: str, extra: str, given: str, purpose: str
) -> None:
    (tmp_path / "x.parquet").touch()
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from mobilenets.data.folder import open_folder; open_folder({given!r})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert done.stderr.strip().splitlines()[-1] == (
        f"mobilenets.errors.MissingExtraError: {purpose} needs {missing}, which is not installed: "
        f"pip install 'mobilenets[{extra}]'"
    )
