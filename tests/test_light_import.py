"""Work on tables never loads torch; and this test would notice if it did."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "onnxruntime", "matplotlib", "PIL")


def loaded(code: str) -> set[str]:
    """Heavy packages that a fresh interpreter has loaded after running some code."""
    report = f"\nimport sys; print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=120)
    return set(run.stdout.splitlines()[-1].split()[1:])


def verb(*arguments: str) -> str:
    return f"from mobilenets.cli import _run\nassert _run({list(arguments)!r}) == 0"


@pytest.mark.parametrize(
    "code",
    [
        "import mobilenets",
        "import mobilenets as mn; mn.cost(mn.scale(mn.network('mobilenet_v3_large'), 0.75, 192)).peak",
        "from mobilenets.zoo.published import estimate_top1; estimate_top1('mobilenet_v1', 0.3, 200)",
        verb("--help"),
        verb("cost", "--help"),
        verb("cost", "mobilenet_v2"),
        verb("show", "mobilenet_v3_small"),
        verb("compare", "*v3*", "--json"),
        verb("explain"),
        verb("list"),
    ],
)
def test_tables_load_nothing_heavy(code: str) -> None:
    assert loaded(code) == set()


def test_this_test_can_fail() -> None:
    assert loaded("import mobilenets; import torch") >= {"torch"}
    assert "PIL" in loaded("import PIL")


def test_the_public_face_does_load_torch_when_a_name_needs_it() -> None:
    assert "torch" in loaded("import mobilenets; mobilenets.build")
