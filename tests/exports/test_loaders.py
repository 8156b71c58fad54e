"""A bundle's reference loaders, run as readers run them: Python in a process of its own, JavaScript in Chromium."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from browser import Browser, browser, served
from making import lively, picture, pixels, tiny
from mobilenets.data import decode
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.exports import Postprocess, export
from mobilenets.exports.loaders import write_loaders, write_parity_pack
from mobilenets.heads import anchors, detections_in, masks_in
from mobilenets.model import build
from mobilenets.prediction import predict
from mobilenets.preprocessing import Interpolation, Preprocessing
from mobilenets.runtime import open_artifact
from mobilenets.table import scale
from mobilenets.zoo import INDEX, network

WEB = Path(os.environ.get("MOBILENETS_ORT_WEB", Path(sys.prefix) / "web/node_modules/onnxruntime-web/dist"))
CASES: list[tuple[Interpolation, float, int]] = [("bilinear", 1.0, 3), ("bicubic", 0.875, 3), ("bilinear", 0.9, 1)]


def photos(folder: Path) -> list[Path]:
    """Wide, tall, smaller than the network's input, as large as it is; turned by EXIF; half transparent; grey."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate([(321, 200), (97, 211), (40, 40), (64, 64)]):
        wide = Image.fromarray(pixels(1, 330, seed=number)[0]).resize((width, height))
        wide.save(folder / f"{number}.png")
    for turn in (3, 6, 7):
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(pixels(1, 300, seed=turn)[0][:180]).save(folder / f"turned{turn}.jpg", exif=exif, quality=90)
    glass = Image.fromarray(pixels(1, 90, channels=4)[0])
    glass.save(folder / "glass.png")
    return sorted(folder.iterdir())


def bundle(folder: Path, interpolation: Interpolation, crop: float, channels: int) -> Path:
    half = Preprocessing.default(64, channels)
    wanted = replace(half, crop=crop, interpolation=interpolation)
    network = replace(scale(INDEX["mobilenet_v3_small"], 0.35, 64), in_channels=channels)
    model = lively(build(network, ('cat "$x"', "dog </b>", "🦉"), preprocessing=wanted))
    export(model, folder / "model.onnx")
    session = open_artifact(folder / "model.onnx")
    write_parity_pack(folder, photos(folder / "photos"), session.preprocessing, session.outputs, session.classes)
    write_loaders(folder, "model.onnx", session.metadata)
    return folder


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle"), *request.param)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (WEB / "ort.wasm.min.js").is_file():
        pytest.skip(f"onnxruntime-web is not in {WEB} (MOBILENETS_ORT_WEB): loader.js is not run")
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def python_loader(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, str(folder / "loader.py"), *arguments],
        cwd=folder.parent, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_python_loader_meets_the_pack_in_a_process_of_its_own(made: Path) -> None:
    ran = python_loader(made, "--check")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 9 and lines[-1] == "all agree"
    assert all("pixels off by at most 0, probabilities by" in line for line in lines[:-1]), (
        "the same Pillow: no pixel differs"
    )
    assert "mobilenets" not in [
        line.split()[1] for line in (made / "loader.py").read_text().splitlines() if "import " in line
    ]


def test_the_python_loader_says_what_predict_says(made: Path) -> None:
    photo = made / "photos" / "turned6.jpg"
    said = python_loader(made, str(photo)).stdout
    best = predict(made / "model.onnx", photo)[0]
    assert f"{photo}: {best.label} {best.score:.3f}" in said
    assert python_loader(made).returncode != 0


def test_the_python_loader_tells_a_wrong_step(made: Path, tmp_path: Path) -> None:
    """A port that swaps channels, or forgets EXIF, is told by its pixels."""
    wrong = tmp_path / "bundle"
    wrong.mkdir()
    for path in made.iterdir():
        if path.name != "ort":
            (wrong / path.name).symlink_to(path)
    (wrong / "loader.py").unlink()
    text = (made / "loader.py").read_text(encoding="utf-8")
    assert "    image = ImageOps.exif_transpose(image)\n" in text
    (wrong / "loader.py").write_text(text.replace("    image = ImageOps.exif_transpose(image)\n", ""), encoding="utf-8")
    ran = python_loader(wrong, "--check")
    assert ran.returncode == 1
    assert "DISAGREES" in ran.stdout


def test_the_script_loader_meets_the_pack_in_a_real_browser(made: Path, window: Browser) -> None:
    (made / "ort").symlink_to(WEB)
    with served(made) as address:
        window.open(f"{address}/loader.html?check")
        said = window.value("new Promise((done) => setInterval(() => { const text = result.textContent;"
                            " if (text !== 'checking') done(text); }, 20))")  # fmt: skip
        asked, errors = list(window.requests), list(window.errors)
        found = window.value("check()")
    assert said.splitlines()[-1] == "all agree", said
    assert errors == []
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    pack = json.loads((made / "parity" / "parity.json").read_text(encoding="utf-8"))
    by_name = {one["file"]: one for one in found["images"]}
    for one in pack["images"]:
        off, difference = by_name[one["file"]]["off"], by_name[one["file"]]["difference"]
        assert off <= 1, f"{one['file']}: resizing is Pillow's to the bit; glass may be laid on white a level brighter"
        assert off > 0 or difference < 1e-4


def test_another_resizing_would_be_told(made: Path, window: Browser) -> None:
    """What a port does first, and what the pack is for: taking the nearest pixels."""
    if not (made / "ort").exists():
        (made / "ort").symlink_to(WEB)
    with served(made) as address:
        window.open(f"{address}/loader.html")
        window.value(
            """(() => { window.square = ({ data, width, height, step }) => {
                 const out = new Uint8Array(RESOLUTION * RESOLUTION * CHANNELS);
                 const near = (at, size) => Math.floor(at * size / RESOLUTION), C = CHANNELS;
                 for (let y = 0; y < RESOLUTION; y++)
                   for (let x = 0; x < RESOLUTION; x++)
                     for (let c = 0; c < C; c++)
                       out[(y * RESOLUTION + x) * C + c] = data[(near(y, height) * width + near(x, width)) * step + c];
                 return out; }; })()"""
        )
        assert window.value("check()")["agrees"] is False


def test_the_pack_holds_what_each_step_gives(made: Path) -> None:
    pack: dict[str, Any] = json.loads((made / "parity" / "parity.json").read_text(encoding="utf-8"))
    session = open_artifact(made / "model.onnx")
    assert len(pack["images"]) == 8
    assert pack["preprocessing"] == json.loads(json.dumps(session.preprocessing.to_dict()))
    originals = {path.read_bytes() for path in (made / "photos").iterdir()}
    for one in pack["images"]:
        stored = made / "parity" / one["file"]
        assert stored.read_bytes() in originals, "small files stay as they are"
        square = decode.load_image(stored, session.preprocessing)
        shown = np.atleast_3d(np.asarray(Image.open(made / "parity" / one["square"])))
        np.testing.assert_array_equal(square, shown)
        assert one["square_sha256"] == hashlib.sha256(square.tobytes()).hexdigest()
        row = session.run(square[None])[0]
        np.testing.assert_allclose(row, one["probabilities"], atol=1e-6)
        assert one["top"][0] == {"label": session.classes[int(row.argmax())], "score": pytest.approx(float(row.max()))}
        assert 1e-4 <= one["tolerance_other_pixels"] <= 1.0
        assert 4 <= one["pixel_tolerance"] < 40


HEADS = [("ssdlite_mobilenet_v3_small", True), ("ssdlite_mobilenet_v3_small", False)]
HEADS += [("lraspp_mobilenet_v3_small", True), ("lraspp_mobilenet_v3_small", False)]


def bundle_of_a_head(folder: Path, name: str, inside: bool) -> Path:
    """The prediction layers are made livelier: boxes must differ in size and in score."""
    torch.manual_seed(0)
    model = lively(build(scale(network(name), 0.35, 96), ["cat", "dog", "owl"]))
    for key, value in model.named_parameters():
        if ".classes" in key and key.endswith("conv.bias"):
            value.data -= 1.0
    export(model, folder / "model.onnx", postprocess=Postprocess(inside=inside))
    session = open_artifact(folder / "model.onnx")
    places = anchors(model.network) if model.info.task == "detect" else None
    photos(folder / "photos")
    files = sorted((folder / "photos").iterdir())[:3]
    write_parity_pack(folder, files, session.preprocessing, session.outputs, session.classes, anchors=places)
    write_loaders(folder, "model.onnx", session.metadata)
    return folder


@pytest.fixture(scope="module", params=HEADS, ids=lambda case: f"{case[0]}-{'inside' if case[1] else 'raw'}")
def head(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of_a_head(tmp_path_factory.mktemp("head"), *request.param)


def test_the_python_loader_reads_boxes_and_masks(head: Path) -> None:
    ran = python_loader(head, "--check")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "all agree"
    assert all("pixels off by at most 0, " in line for line in ran.stdout.splitlines()[:-1])
    photo = head / "photos" / "0.png"
    said = python_loader(head, str(photo)).stdout
    found, size = (
        open_artifact(head / "model.onnx").outputs(
            decode.load_image(photo, open_artifact(head / "model.onnx").preprocessing)[None]
        ),
        Image.open(photo).size,
    )
    if "mask" in found or "probabilities" in found:
        (mask,) = masks_in(found, [size[::-1]])
        named = ("cat", "dog", "owl")[np.bincount(mask.ravel()).argmax()]
        assert f" {named} 0." in said
        return
    (one,) = detections_in(found, np.array(json.loads((head / "anchors.json").read_text()), np.float32)
                           if (head / "anchors.json").is_file() else None)  # fmt: skip
    corners = np.round(one.boxes[0] * [*size, *size]).astype(int)
    assert f"\n  {('cat', 'dog', 'owl')[one.classes[0]]} {one.scores[0]:.3f} at {corners}" in said
    assert len(said.splitlines()) == 1 + len(one.scores)


def test_the_pack_tells_wrong_boxes_and_masks(head: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "bundle"
    shutil.copytree(head, wrong)
    text = (wrong / "loader.py").read_text(encoding="utf-8")
    changed = text.replace("return boxes[kept]", "return boxes[kept] / 2").replace(
        'return outputs["boxes"][:count]', 'return outputs["boxes"][:count] / 2'
    )
    changed = changed.replace('return outputs["mask"] if', 'return 1 - outputs["mask"] if').replace(
        "argmax(0)", "argmin(0)"
    )
    assert changed != text
    (wrong / "loader.py").write_text(changed, encoding="utf-8")
    ran = python_loader(wrong, "--check")
    assert ran.returncode == 1 and "DISAGREES" in ran.stdout


def test_the_script_loader_reads_boxes_and_masks(head: Path, window: Browser) -> None:
    (head / "ort").symlink_to(WEB)
    with served(head) as address:
        window.open(f"{address}/loader.html?check")
        said = window.value("new Promise((done) => setInterval(() => { const text = result.textContent;"
                            " if (text !== 'checking') done(text); }, 20))")  # fmt: skip
        errors = list(window.errors)
    assert said.splitlines()[-1] == "all agree", said
    assert errors == []


def test_large_and_odd_files_become_a_png(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    picture(tmp_path / "old.tiff")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    model = tiny()
    export(model, tmp_path / "model.onnx")
    session = open_artifact(tmp_path / "model.onnx")
    names = [tmp_path / name for name in ("broken.jpg", "large.png", "old.tiff")]
    pack = write_parity_pack(tmp_path, names, session.preprocessing, session.outputs, session.classes)
    assert [one["file"] for one in pack["images"]] == ["01.png", "02.png"], "the broken one is passed over"
    assert Image.open(tmp_path / "parity" / "01.png").size == (640, 411)
    with pytest.raises(MisuseError, match="no readable image among the 1 given for the parity pack"):
        write_parity_pack(tmp_path, names[:1], session.preprocessing, session.outputs, session.classes)
    drawn = write_parity_pack(tmp_path / "scenes", [], session.preprocessing, session.outputs, session.classes, limit=2)
    assert len(drawn["images"]) == 2


def test_nothing_of_a_model_is_written_into_the_templates(tmp_path: Path) -> None:
    metadata = {
        "classes": json.dumps([f"class {i}" for i in range(1000)]),
        "preprocessing": json.dumps(Preprocessing(192, crop=0.875, interpolation="bicubic").to_dict()),
        "task": "multi-label",
        "network": "mobilenet_v2",
    }
    written = write_loaders(tmp_path, "net $1.onnx", metadata)
    assert [path.name for path in written] == [
        "labels.json",
        "loader.py",
        "loader.js",
        "loader.html",
        "Loader.kt",
        "README.md",
    ]
    kotlin, readme = ((tmp_path / name).read_text(encoding="utf-8") for name in ("Loader.kt", "README.md"))
    assert "const val RESOLUTION = 192 //" in kotlin and "const val SHORT_SIDE = 219 //" in kotlin
    assert "NOT run on Android" in kotlin and "**Not run on Android**" in readme
    assert '"net \\$1.onnx"' in kotlin
    assert "each between 0 and 1" in readme and "1000 classes" in readme
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "{{" not in text and "{%" not in text, f"{path}: a hole was not filled"
    compile((tmp_path / "loader.py").read_text(encoding="utf-8"), "loader.py", "exec")


def test_loaders_refuse_what_they_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(
        MisuseError, match=r"reference loaders run an \.onnx file that lies beside them, got 'model.tflite'"
    ):
        write_loaders(tmp_path, "model.tflite", {})
    with pytest.raises(
        CheckpointError, match=r"model\.onnx: its metadata lacks readable `classes` and `preprocessing`"
    ):
        write_loaders(tmp_path, "model.onnx", {"classes": "["})
    assert not list(tmp_path.iterdir())
