"""What is kept of a run while it writes, and what is refused when it goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mobilenets.errors import MisuseError
from mobilenets.streams.journal import STEP, Journal, journal_of, part_of

SETTINGS = {"model": "abc", "top": 5}


@pytest.fixture(autouse=True)
def _told_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.streams.journal.EVERY_S", 0.0)


def begun(path: Path, *, resume: bool = False, overwrite: bool = False, **settings: object) -> Journal:
    return Journal(path, SETTINGS | settings, resume=resume, overwrite=overwrite)


def names(n: int) -> list[str]:
    return [f"{i}.jpg" for i in range(n)]


def stopped_after(path: Path, n: int) -> None:
    with begun(path).writing("head\n") as write:
        for name in names(n):
            write(name, f"{name} é\n")


def test_goes_on_behind_what_was_told_and_cuts_off_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, 2 * STEP + 3)
    with part_of(out).open("ab") as torn:
        torn.write(b"half a li")
    with journal_of(out).open("ab") as torn:
        torn.write(b'{"rows": 99')
    journal = begun(out, resume=True)
    assert journal.rows == 2 * STEP
    rest = iter(names(2 * STEP + 5))
    journal.skip(rest)
    with journal.writing("head\n") as write:
        for name in rest:
            write(name, f"{name} é\n")
    assert part_of(out).read_text("utf-8") == "head\n" + "".join(f"{name} é\n" for name in names(2 * STEP + 5))


def test_a_part_shorter_than_told_goes_back_to_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, 3 * STEP)
    with part_of(out).open("r+b") as part:
        part.truncate(part_of(out).stat().st_size - 1)
    assert begun(out, resume=True).rows == 2 * STEP


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, STEP)
    for inputs in (["b.jpg", *names(STEP)], names(STEP)[:-1], []):
        with pytest.raises(MisuseError, match=r"a\.csv\.part.*other inputs.*--overwrite"):
            begun(out, resume=True).skip(iter(inputs))


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, STEP)
    with pytest.raises(MisuseError, match=re.escape("top 5, now 3")):
        begun(out, resume=True, top=3)
    assert begun(out, overwrite=True, top=3).rows == 0
    assert not part_of(out).exists()


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, STEP)
    with pytest.raises(MisuseError, match=r"interrupted.*--resume.*--overwrite"):
        begun(out)
    part_of(out).rename(out)
    with pytest.raises(MisuseError, match=r"a\.csv exists.*--overwrite"):
        begun(out)
    begun(out, overwrite=True)
    assert out.exists(), "until the new one is whole"


def test_lines_that_cannot_be_read_count_for_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    stopped_after(out, 2 * STEP)
    with journal_of(out).open("ab") as torn:
        torn.write(b'puts": "0f"}\n7\n')
    assert begun(out, resume=True).rows == 2 * STEP
    journal_of(out).write_bytes(b"not a journal\n")
    with pytest.raises(MisuseError, match="damaged, so nobody can tell what is done: --overwrite begins anew"):
        begun(out, resume=True)


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    with begun(out).writing("head\n") as write:
        write("0.jpg", "0\n")
        with pytest.raises(MisuseError, match="another process is writing this run"):
            begun(out, resume=True).writing("head\n").__enter__()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is a folder: name a file for --out"):
        begun(tmp_path)
