"""Every error a user can cause, in one small tree.

    MobileNetsError             exit code 1: the work was well asked for and failed
    ├── DataError               the images or labels cannot be used
    │   └── TooManyPixelsError  an image is larger than is decoded
    ├── BudgetUnmetError        nothing fits the budget
    ├── DivergedError           a training's loss or gradient left the numbers
    ├── ExportError             a converter cannot write the model
    ├── VerificationError       an artifact disagrees with the model it was made from
    ├── CheckpointError         a file of weights does not fit or cannot be read
    ├── DeviceError             a device cannot be reached, or a model cannot run there
    ├── StudyError              a search's shared study cannot be reached
    ├── ClusterError            a Ray cluster cannot be reached, or work on it failed
    └── MisuseError             exit code 2: the request itself is wrong
        ├── UnknownNameError    no such network, format, runtime ... (near names are offered)
        ├── BudgetFormatError   a budget that cannot be read
        └── MissingExtraError   an optional dependency is not installed

A message says what went wrong, where, what was found, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MobileNetsError(Exception):
    """Root of the tree. `exit_code` is what the command line returns for it."""

    exit_code = 1


class DataError(MobileNetsError):
    """Images or labels cannot be used."""


class TooManyPixelsError(DataError):
    """An image has more pixels than are decoded."""


class BudgetUnmetError(MobileNetsError):
    """No candidate meets the budget."""


class DivergedError(MobileNetsError):
    """A training diverged, and diverged again at half the rate."""


class ExportError(MobileNetsError):
    """A converter refused the model, or failed on it."""


class VerificationError(MobileNetsError):
    """An exported artifact disagrees with the model it was made from; `result` is the comparison, if there was one."""

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class CheckpointError(MobileNetsError):
    """A checkpoint cannot be read, or its tensors do not fit the network."""


class DeviceError(MobileNetsError):
    """A device cannot be reached or prepared, or a model cannot run on it."""


class StudyError(MobileNetsError):
    """The study that the workers of a search share cannot be reached, or answers no more."""


class ClusterError(MobileNetsError):
    """A Ray cluster cannot be reached, or work on it failed for another reason than the user's images."""


class MisuseError(MobileNetsError):
    """The request is wrong: a path, an option or a combination."""

    exit_code = 2


class UnknownNameError(MisuseError):
    """A name that is not in the index; near names are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        near = near_names(name, known)
        offer = f" Did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}.{offer}{' ' + hint if hint else ''}")
        self.near = near


class BudgetFormatError(MisuseError):
    """A budget whose number or unit cannot be read."""


class MissingExtraError(MisuseError):
    """An optional dependency is missing; the message carries the pip line that adds it."""

    def __init__(self, package: str, extra: str, *, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'mobilenets[{extra}]'")


def near_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The n known names nearest to a misspelt one, best first (empty when nothing is near)."""
    return difflib.get_close_matches(name.lower(), list(known), n=n, cutoff=0.4)
