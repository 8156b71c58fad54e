"""Converters and runtimes talk: to stdout, to stderr, past Python, and some to their makers. Here they do not."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SILENT = {"CI": "true", "NNCF_CI": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"}
"""What OpenVINO and NNCF take for a build server, from which they report nothing; and no remarks."""


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that a library prints, warns, logs or reports home gets out of this block. Errors do, as exceptions.

    It holds for the whole process: threads that print meanwhile are silent, too.
    """
    before = {name: os.environ.get(name) for name in SILENT}
    level = logging.root.manager.disable
    os.environ.update(SILENT)
    logging.disable(logging.CRITICAL)
    try:
        with (
            _no_descriptors(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_descriptors() -> Iterator[None]:
    """Descriptors 1 and 2 lead nowhere inside the block: native code writes to them past Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept: dict[int, int] = {}
    with contextlib.suppress(OSError):  # a program started without them has none to keep
        kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
