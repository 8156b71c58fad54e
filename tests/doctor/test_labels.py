"""Labels that a model contradicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilenets.doctor.labels import suspicious

CLASSES = ("cat", "dog", "owl")


def test_confident_contradictions_by_loss() -> None:
    rows = {
        "right": [0.9, 0.05, 0.05],
        "unsure": [0.3, 0.6, 0.1],
        "wrong": [0.1, 0.85, 0.05],
        "very wrong": [0.001, 0.998, 0.001],
    }
    said = [(Path(name), np.array(row, np.float32)) for name, row in rows.items()]
    found = suspicious(said, {Path(name): "cat" for name in rows}, CLASSES)
    assert [finding.paths for finding in found] == [(Path("very wrong"),), (Path("wrong"),)]
    assert found[0].message.startswith("labelled cat, the model says dog (100%, loss 6.9)")
    assert {(f.kind, f.severity) for f in found} == {("suspicious label", "warning")}


def test_a_probability_of_zero() -> None:
    (finding,) = suspicious([(Path("a"), np.array([0, 0, 1], np.float32))], {Path("a"): "dog"}, CLASSES)
    assert "owl" in finding.message
