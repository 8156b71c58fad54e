"""README's snippets run as printed."""

import re
import shlex
from pathlib import Path

import pytest

from mobilenets.cli import VERBS, _run

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})


@pytest.mark.parametrize("line", re.findall(r"^    \$ mobilenets (.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE))
def test_commands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(shlex.split(line)) == 0


def test_pictures_and_files_exist() -> None:
    root = Path(__file__).resolve().parents[1]
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / target).exists(), target


def test_every_verb_is_named() -> None:
    for verb in VERBS:
        assert f"`{verb}" in README, verb
