"""A worker of a shared study, as a process: `python study_worker.py PLACE FOLDER NAME TRIALS`.

It says `began` when it evaluates its first trial, and goes on when its standard input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mobilenets.search import Choices, Plan, Point, open_study, work

CHOICES: Choices = {f"stage{i}": (0, 1, 2, 3) for i in range(5)}
PLAN = Plan(CHOICES, "hard", "evolution", "5 ms", population=8, sample=3)


def load(point: Point) -> float:
    return 0.1 + sum(int(value) for value in point.values()) / 10


def accuracy(point: Point) -> float:
    return sum(int(value) for value in point.values()) / 15


def main(place: str, folder: Path, name: str, trials: int) -> None:
    def evaluate(point: Point) -> float:
        with (folder / f"{name}.evaluated").open("a") as log:
            print(sorted(point.items()), file=log)
        if not sys.stdin.closed:
            print("began", flush=True)
            with sys.stdin as go:
                go.read()
        return accuracy(point)

    done = work(open_study(place, PLAN), load, evaluate, trials=trials, heartbeat_s=0.5)
    print(done.ended, done.trials)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
