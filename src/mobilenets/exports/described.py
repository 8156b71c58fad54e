"""What every exported file says of itself, as texts by name."""

from __future__ import annotations

import json

from mobilenets.model import MobileNet, versions
from mobilenets.onnx import metadata
from mobilenets.precision import Precision


def described(model: MobileNet, precision: Precision) -> dict[str, str]:
    """Task, network, table, classes, preprocessing, precision, metrics and versions; structures as JSON."""
    info = model.info
    return metadata(model.network, info.preprocessing, info.classes, info.task) | {
        "precision": precision,
        "metrics": json.dumps(info.metrics),
        "versions": json.dumps(versions()),
    }
