"""The most accurate MobileNet for your images and your budget, proven on your device.

    import mobilenets as mn

    net = mn.scale(mn.network("mobilenet_v3_large"), width=0.75, resolution=192)
    print(mn.cost(net))

Nothing heavy is imported until a name that needs it is used; table, cost and latency work never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mobilenets.version import __version__ as __version__

if TYPE_CHECKING:
    from mobilenets.adapting.adapt import adapt
    from mobilenets.compression.quantize import quantize
    from mobilenets.costs import cost
    from mobilenets.errors import MobileNetsError
    from mobilenets.exports import export
    from mobilenets.fitting.fit import fit
    from mobilenets.latency import benchmark
    from mobilenets.model import build, load, save
    from mobilenets.prediction import evaluate, predict
    from mobilenets.table import Network, scale
    from mobilenets.training import train
    from mobilenets.zoo import network, networks


# rooms are nouns and the public face is verbs, so that no room ever hides a function of the same name (ADR 2)
_HOME = {
    "MobileNetsError": "errors",
    "Network": "table",
    "adapt": "adapting",
    "benchmark": "latency",
    "build": "model",
    "cost": "costs",
    "evaluate": "prediction",
    "export": "exports",
    "fit": "fitting",
    "load": "model",
    "network": "zoo",
    "networks": "zoo",
    "predict": "prediction",
    "quantize": "compression",
    "save": "model",
    "scale": "table",
    "train": "training",
}

__all__ = [
    "MobileNetsError",
    "Network",
    "adapt",
    "benchmark",
    "build",
    "cost",
    "evaluate",
    "export",
    "fit",
    "load",
    "network",
    "networks",
    "predict",
    "quantize",
    "save",
    "scale",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mobilenets' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mobilenets.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
