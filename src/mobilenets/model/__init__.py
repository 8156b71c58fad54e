"""Networks as nn.Modules, and their checkpoints. torch begins here."""

from mobilenets.model.build import (
    AnchorOutputs,
    Info,
    MobileNet,
    addressed,
    arrays,
    build,
    deploy,
    evaluating,
    initialise,
    normalise,
    with_info,
)
from mobilenets.model.deployed import Deployed
from mobilenets.model.store import load, load_tensors, save, versions

__all__ = [
    "AnchorOutputs",
    "Deployed",
    "Info",
    "MobileNet",
    "addressed",
    "arrays",
    "build",
    "deploy",
    "evaluating",
    "initialise",
    "load",
    "load_tensors",
    "normalise",
    "save",
    "versions",
    "with_info",
]
