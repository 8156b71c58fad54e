"""How long it takes until something can be done: `import mobilenets`, and `mobilenets --help`."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.tables import print_table, spread, times_ms

NAME = "startup"
RUNS = 15
IMPORT_BAR_MS = 50
HELP_BAR_MS = 300


def run() -> None:
    """Print what a fresh interpreter takes; the best of the runs is held against the bars."""
    bare = times_ms(lambda: _python("-c", "pass"), RUNS)
    imported = times_ms(lambda: _python("-c", "import mobilenets"), RUNS)
    helped = times_ms(lambda: _python("-m", "mobilenets", "--help"), RUNS)
    costed = times_ms(lambda: _python("-m", "mobilenets", "cost", "mobilenet_v2", "--json"), RUNS)
    print_table(
        "start-up of a fresh interpreter, ms wall",
        ("what", "median", "best", "middle half", "n", "bar (best)"),
        (
            ("python -c pass", *spread(bare), ""),
            ("python -c 'import mobilenets'", *spread(imported), ""),
            ("import mobilenets, beyond bare python", "", f"{imported[0] - bare[0]:.2f}", "", "", f"{IMPORT_BAR_MS}"),
            ("mobilenets --help", *spread(helped), f"{HELP_BAR_MS}"),
            ("mobilenets cost mobilenet_v2 --json", *spread(costed), ""),
        ),
    )


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
