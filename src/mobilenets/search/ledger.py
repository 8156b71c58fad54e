"""The trials of a study in Optuna's storage: a journal file on a disk that all workers see, or PostgreSQL.

A trial is written twice, when it is claimed and when it is done. Numbers are given by the storage in the order of the
claims, so workers that claim the same point, or one more than is wanted, agree on who yields: the higher number.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from mobilenets.errors import MisuseError, StudyError
from mobilenets.search.points import Choices, Point
from mobilenets.search.samplers import distributions

SETTINGS, CLOSED = "settings", "closed"
ACCURACY_AND_LOAD = (optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE)
SYNC_S = 1.0
PATIENCE_S = 5.0  # for the settings of a study that another worker is making just now


class Ledger:
    """One study in a storage.

    Args:
        storage: of Optuna.
        where: the storage in words, without a password.
        name: of the study; it is made if it is not there.
        create: False if it must be there.
    """

    def __init__(self, storage: BaseStorage, where: str, name: str, *, create: bool = True) -> None:
        self._storage = storage
        self.where = where
        self.name = name
        with self._answering():
            self.made = self._make() if create else False
            try:
                self._study_id = storage.get_study_id_from_name(name)
            except KeyError:
                raise MisuseError(f"{where} holds no study {name!r}: begin a search there first.") from None

    def _make(self) -> bool:
        if holds(self._storage, self.name):
            return False
        try:
            self._storage.create_new_study(ACCURACY_AND_LOAD, self.name)
        except optuna.exceptions.DuplicatedStudyError:
            return False  # another worker was faster
        return True

    def settings(self, mine: Mapping[str, Any]) -> dict[str, Any]:
        """What the study was begun with: `mine` if this worker made it."""
        kept = None if self.made else self.kept_settings(PATIENCE_S)
        if kept is None:  # ours to say; or who made it died before it could
            kept = json.dumps(mine)
            with self._answering():
                self._storage.set_study_user_attr(self._study_id, SETTINGS, kept)
        settings: dict[str, Any] = json.loads(kept)
        return settings

    def kept_settings(self, patience_s: float = 0.0) -> str | None:
        """The settings as they are kept, once they are there."""
        end = time.monotonic() + patience_s
        while True:
            with self._answering():
                kept = self._storage.get_study_user_attrs(self._study_id).get(SETTINGS)
            if kept is not None or time.monotonic() >= end:
                return None if kept is None else str(kept)
            time.sleep(0.05)

    def end(self) -> None:
        """Nothing that is told from now on will be read."""
        with self._answering():
            self._storage.set_study_user_attr(self._study_id, CLOSED, True)

    def closed(self) -> bool:
        """Whether nobody reads any more what is told."""
        with self._answering():
            return bool(self._storage.get_study_user_attrs(self._study_id).get(CLOSED))

    def trials(self) -> list[Any]:
        """All trials by number, whatever their state; not copies."""
        with self._answering():
            return list(self._storage.get_all_trials(self._study_id, deepcopy=False))

    def claim(self, point: Point, choices: Choices, notes: Mapping[str, Any], marks: Mapping[str, Any]) -> int:
        """A trial that is running from now on, in one write; its id in the storage."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=point,
            distributions=distributions(choices),
            user_attrs=dict(notes),
            system_attrs=dict(marks),
        )
        with self._answering():
            return int(self._storage.create_new_trial(self._study_id, template_trial=trial))

    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Write something beside a trial, if it is still running."""
        with self._answering(), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(trial_id, name, value)

    def complete(self, trial_id: int, accuracy: float, load: float) -> bool:
        """Tell a trial's result; False if others had given it up."""
        return self._end(trial_id, TrialState.COMPLETE, (accuracy, load))

    def fail(self, trial_id: int) -> bool:
        """The trial's worker is gone, and its result with it."""
        return self._end(trial_id, TrialState.FAIL, None)

    def withdraw(self, trial_id: int) -> bool:
        """The trial was not needed."""
        return self._end(trial_id, TrialState.PRUNED, None)

    def _end(self, trial_id: int, state: TrialState, values: tuple[float, float] | None) -> bool:
        with self._answering():
            try:
                return bool(self._storage.set_trial_state_values(trial_id, state, values))
            except optuna.exceptions.UpdateFinishedTrialError:
                return False

    def close(self) -> None:
        """Give back connections."""
        self._storage.remove_session()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (OSError, optuna.exceptions.StorageInternalError) as error:
            raise StudyError(f"{self.where} does not answer any more: {one_line(error)}") from None


def holds(storage: BaseStorage, name: str) -> bool:
    """Whether a storage has a study of this name."""
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def one_line(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def open_journal(path: Path, *, create: bool = True) -> BaseStorage:
    """The journal in a file, made if it is not there.

    Raises:
        MisuseError: the path cannot be a journal, or the file holds something else.
    """
    if path.is_dir():
        raise MisuseError(f"{path} is a folder; a study is kept in a file: give {path / 'study.log'}.")
    if not create and not path.is_file():
        raise MisuseError(f"there is no study at {path}.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    foreign = f"{path} is not the journal of a study: choose another path, or move the file away."
    try:
        if path.is_file() and not _begins_as_journal(path):
            raise MisuseError(foreign)
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_backend(path))
    except OSError as error:
        raise MisuseError(f"the study {path} cannot be opened: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise MisuseError(foreign) from None


def _begins_as_journal(path: Path) -> bool:
    """Whether a file is empty or begins as Optuna writes it: the user's own is never written into."""
    start = b'{"op_code":'
    with path.open("rb") as file:
        return start.startswith(file.read(len(start)).replace(b" ", b""))


class Journal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's journal under flock, which is gone with its process and, on NFS and its like, held across machines.

    Optuna's own locks are files that a killed worker leaves behind; the others then wait for half a minute. What a
    worker that died while writing left without an end is cut off. Only results are worth waiting for the disk, and
    once a second: what is written outlives its process anyway, and a machine that loses its power loses that second.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._synced = 0.0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with _locked(self._path.with_name(f"{self._path.name}.lock")), self._path.open("rb+", buffering=0) as journal:
            _cut_torn_line(journal)
            journal.seek(0, os.SEEK_END)
            journal.write(lines)
            if any(log.get("values") for log in logs) and time.monotonic() - self._synced > SYNC_S:
                os.fsync(journal.fileno())
                self._synced = time.monotonic()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _cut_torn_line(journal: BinaryIO) -> None:
    end = journal.seek(0, os.SEEK_END)
    start = max(0, end - 2**20)
    journal.seek(max(0, end - 1))
    if journal.read(1) in (b"", b"\n"):
        return
    journal.seek(start)
    journal.truncate(start + journal.read().rfind(b"\n") + 1)


def _backend(path: Path) -> JournalFileBackend:
    if importlib.util.find_spec("fcntl"):
        return Journal(path)
    return JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))  # Windows
