"""The public names are frozen, and no room hides one of them."""

import importlib
import pkgutil

import mobilenets as mn

NAMES = {
    "MobileNetsError", "Network", "adapt", "benchmark", "build", "cost", "evaluate", "export", "fit", "load", "network",
    "networks", "predict", "quantize", "save", "scale", "train",
}  # fmt: skip


def test_names_are_frozen() -> None:
    assert set(mn.__all__) == NAMES
    assert set(dir(mn)) >= NAMES


def test_every_room_imported_and_every_name_still_callable() -> None:
    for module in pkgutil.walk_packages(mn.__path__, "mobilenets."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in NAMES:
        assert callable(getattr(mn, name)), name


def test_unknown_name() -> None:
    assert not hasattr(mn, "frobnicate")
