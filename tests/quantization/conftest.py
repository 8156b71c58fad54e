"""One trained network and its images for all tests of int8."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from making import stripes, trained
from mobilenets.model import MobileNet

Labelled = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def model() -> MobileNet:
    torch.set_num_threads(1)
    return trained()


@pytest.fixture(scope="session")
def calibration() -> np.ndarray:
    return stripes(48, seed=2)[0]


@pytest.fixture(scope="session")
def unseen() -> Labelled:
    images, labels = stripes(120, seed=3)
    return images, np.asarray(labels)


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package that is installed look as if it were not."""

    def hide(package: str) -> None:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, package, None)

    return hide
