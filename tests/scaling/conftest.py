"""A small model's file, photos among which some are none, and a real S3-compatible server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from making import picture, tiny
from mobilenets.model import arrays
from mobilenets.onnx import to_onnx

BUCKET = "photos"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of three classes at 64 px, as ONNX."""
    model = tiny()
    file = tmp_path_factory.mktemp("model") / "tiny.onnx"
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=model.info.classes)
    file.write_bytes(proto.SerializeToString())
    return file


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty pictures; two of them cannot be read."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [picture(folder / f"{i:03d}.png", seed=i) for i in range(60)]
    files[7].write_bytes(b"")
    files[33].write_bytes(b"\xff\xd8\xff nothing more")
    return files


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an empty bucket on a real server on loopback: s3rver, which `make test` gets from npm."""
    program = Path(
        os.environ.get("MOBILENETS_S3RVER", REPOSITORY / ".venv" / "web" / "node_modules" / ".bin" / "s3rver")
    )
    if not program.is_file() or shutil.which("node") is None:
        pytest.skip(f"{program} is not there: npm install --prefix .venv/web s3rver")
    folder = tmp_path_factory.mktemp("s3")
    command = [program, "-d", folder, "-a", "127.0.0.1", "-p", "0", "--configure-bucket", BUCKET]
    tuned = os.environ | {
        "NODE_OPTIONS": "--openssl-legacy-provider",  # its cipher is an old one
        # It answers before the file of an upload's part is open, and dies if the file is not there when all parts are
        # to be joined. With one thread files are opened, written and read in the order of its calls.
        "UV_THREADPOOL_SIZE": "1",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=tuned) as server:
        assert server.stdout is not None
        line = next((line for line in server.stdout if "listening" in line), "")
        environment = {
            "AWS_ENDPOINT_URL": f"http://{line.split()[-1]}",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED",  # the server does not know the newer ones
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            yield f"s3://{BUCKET}"
        server.terminate()
