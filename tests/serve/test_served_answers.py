"""The server says of images what `predict` says, whatever form they come in and whoever they are asked with."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import Client, Running, running

from mobilenets.prediction import Prediction, open_model, predict
from mobilenets.serve.settings import Settings


def same(got: dict[str, Any], wanted: Prediction) -> None:
    """Whether a served answer is `predict`'s, up to rounding."""
    assert got["error"] is None
    if wanted.detections is not None:
        assert [each["number"] for each in got["detections"]] == [each.number for each in wanted.detections]
        assert [each["label"] for each in got["detections"]] == [each.label for each in wanted.detections]
        ours = np.array([[*each["box"], each["score"]] for each in got["detections"]])
        theirs = np.array([[*each.box, each.score] for each in wanted.detections])
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    elif wanted.regions is not None:
        assert got["regions"] == [
            {"label": r.label, "number": r.number, "pixels": r.pixels, "part": r.part, "counts": r.counts}
            for r in wanted.regions
        ]
    else:
        assert got["label"] == wanted.label and got["score"] == pytest.approx(wanted.score, abs=1e-5)
        assert [each["label"] for each in got["top"]] == [label for label, _ in wanted.top]


@pytest.mark.parametrize("name", ["labels", "boxes", "masks"])
def test_answers_of_a_batch_are_predicts(client: Client, files: Any, pictures: list[Path], name: str) -> None:
    wanted = predict(files[name], pictures, threads=1)
    with ThreadPoolExecutor(12) as pool:
        path = f"/v1/models/{name}:predict"
        answers = list(pool.map(lambda picture: client.post(path, picture.read_bytes(), "image/jpeg"), pictures))
    for answer, each in zip(answers, wanted, strict=True):
        assert answer.status == 200
        told = answer.json()
        assert told["model"] == name and told["predictions"][0]["size"] == [120, 100]
        assert set(told["timing"]) == {"decode_ms", "queue_ms", "infer_ms", "total_ms", "batch"}
        same(told["predictions"][0], each)


def test_a_checkpoint_is_served_too(files: Any, pictures: list[Path]) -> None:
    with running({"it": files["checkpoint"]}, Settings(threads=1)) as server:
        answer = server.client.post("/v1/models/it:predict", pictures[0].read_bytes())
        same(answer.json()["predictions"][0], predict(files["labels"], pictures[0], threads=1)[0])
        assert server.client.get("/v1/models/it").json()["browser"] is False
        assert server.client.get("/v1/models/it/model.onnx").status == 404


def test_requests_of_one_batch_may_want_different_things(served: Running, files: Any, pictures: list[Path]) -> None:
    wishes = [(top, score) for top in (None, 1, 3) for score in (None, 0.0, 0.3, 0.6)]
    path = "/v1/models/boxes:predict?"
    queries = [
        "&".join(f"{key}={value}" for key, value in (("top", top), ("score", score)) if value is not None)
        for top, score in wishes
    ]
    with ThreadPoolExecutor(12) as pool:
        jobs = [
            pool.submit(served.client.post, path + query, pictures[i].read_bytes()) for i, query in enumerate(queries)
        ]
        answers = [job.result() for job in jobs]
    for i, (top, score) in enumerate(wishes):
        wanted = predict(files["boxes"], pictures[i], top=top, score=score, threads=1)[0]
        same(answers[i].json()["predictions"][0], wanted)


def test_mixed_wishes_are_answered_from_one_run(files: Any, pictures: list[Path]) -> None:
    from mobilenets.prediction.loading import load_seen
    from mobilenets.serve.models import Asked, answering, open_models

    settings = Settings(threads=1)
    model = open_models([str(files["boxes"])], settings)["boxes"]
    contract = model.first.preprocessing
    seen = [load_seen(each, contract, task="detect") for each in pictures[:4]]
    batch = [
        Asked("a", each, top, score)
        for each, top, score in zip(seen, (1, 3, 1, None), (0.0, 0.0, 0.0, 0.6), strict=True)
    ]
    told = answering(model, model.first)(batch)
    assert [len(each.detections or ()) for each in told[:3]] == [1, 3, 1]
    for each, picture in zip((told[0], told[2]), (pictures[0], pictures[2]), strict=True):
        wanted = predict(files["boxes"], picture, top=1, score=0.0, threads=1)[0]
        assert each.detections is not None and wanted.detections is not None
        assert each.detections[0].box == pytest.approx(wanted.detections[0].box, abs=1e-3)


def test_every_form_of_a_request_says_the_same(client: Client, pictures: list[Path]) -> None:
    path, data = "/v1/models/labels:predict", pictures[1].read_bytes()
    text = base64.b64encode(data).decode()
    answers = [
        client.post(f"{path}?top=2", data),
        client.post(f"{path}?top=2", data, "image/jpeg; charset=binary"),
        client.ask("POST", f"{path}?top=2", data),  # no type at all
        client.ask("POST", f"{path}?top=2", iter([data[:100], data[100:]])),  # chunked
        client.post_form(f"{path}?top=2", data),
        client.post_json(path, {"images": [{"base64": text}], "top": 2}),
        client.post_json(f"{path}?top=3", {"images": [{"base64": f"data:image/jpeg;base64,{text}"}], "top": 2}),
    ]
    assert [answer.status for answer in answers] == [200] * 7
    told = [answer.json()["predictions"] for answer in answers]
    assert all(each == told[0] for each in told) and len(told[0][0]["top"]) == 2


def test_one_broken_image_among_several_is_told_in_its_place(client: Client, pictures: list[Path]) -> None:
    good = pictures[0].read_bytes()
    told = client.post_form("/v1/models/boxes:predict", good, b"no image", pictures[1].read_bytes()[:700], good).json()
    first, text, cut, last = told["predictions"]
    assert first == last and first["error"] is None
    assert "image 2: not an image" in text["error"] and text["size"] is None
    assert "image 3: truncated JPEG" in cut["error"]


def test_sizes_are_the_upright_images(client: Client) -> None:
    large = Image.effect_noise((900, 700), 30)
    turned = Image.Exif()
    turned[0x0112] = 6
    file = io.BytesIO()
    large.save(file, "JPEG", exif=turned, quality=40)
    for name in ("labels", "boxes", "masks"):  # decoded smaller, for the network has 64 or 96 pixels
        told = client.post(f"/v1/models/{name}:predict", file.getvalue()).json()["predictions"][0]
        assert told["size"] == [700, 900]
        assert sum(region["pixels"] for region in told.get("regions", ())) in (0, 630_000)


def test_what_is_told_of_models(client: Client, files: Any) -> None:
    models = client.get("/v1/models").json()["models"]
    assert [(each["name"], each["task"], each["browser"]) for each in models] == [
        ("labels", "classify", True), ("boxes", "detect", True), ("masks", "segment", True),
    ]  # fmt: skip
    one = client.get("/v1/models/labels").json()
    assert one == models[0] and one["classes"] == ["cat", "dog", "owl"] and one["resolution"] == 64
    assert one["bytes"] == files["labels"].stat().st_size and one["runtime"] == "onnxruntime"
    assert client.get("/v1/models/labels/model.onnx").body == files["labels"].read_bytes()


def test_what_browsers_are_told(client: Client, files: Any) -> None:
    from mobilenets.prediction.answers import anchors_of

    told = client.get("/v1/models/boxes/browser.json").json()
    predictor = open_model(files["boxes"], threads=1)
    assert told["preprocessing"] == {
        **predictor.preprocessing.to_dict(),
        "mean": list(predictor.preprocessing.mean),
        "std": list(predictor.preprocessing.std),
    }
    assert told["outputs"] == ["boxes", "scores"] and told["anchors"] == "anchors.bin" and told["model"] == "model.onnx"
    anchors = np.frombuffer(client.get("/v1/models/boxes/anchors.bin").body, "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(anchors, anchors_of(predictor))
    assert client.get("/v1/models/labels/browser.json").json()["anchors"] is None
    assert client.get("/v1/models/labels/anchors.bin").status == 404
