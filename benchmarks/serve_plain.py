"""The server that most people write, without batching: `python -m benchmarks.serve_plain MODEL.onnx`."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image, ImageOps

from mobilenets.preprocessing import Preprocessing
from mobilenets.serve.running import listening


def create_app(model: str) -> FastAPI:
    """A sync endpoint: FastAPI runs it in its thread pool, and all threads share one session."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes: list[str] = json.loads(about["classes"])
    contract = Preprocessing.from_dict(json.loads(about["preprocessing"]))
    name, side = session.get_inputs()[0].name, contract.resolution
    app = FastAPI()

    @app.post("/v1/models/it:predict")
    def predict(image: UploadFile) -> dict[str, Any]:
        picture = Image.open(image.file).convert("RGB")
        square = ImageOps.fit(picture, (side, side), Image.Resampling[contract.interpolation.upper()])
        probabilities = session.run(None, {name: np.asarray(square)[None]})[0][0]
        best = np.argsort(-probabilities)[:5]
        return {"top": [{"label": classes[i] if classes else str(i), "score": float(probabilities[i])} for i in best]}

    return app


if __name__ == "__main__":
    app = create_app(sys.argv[1])
    with listening("127.0.0.1", 0) as where:
        print(f"plain at http://127.0.0.1:{where.getsockname()[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[where])
