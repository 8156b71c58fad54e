"""MLflow: a run named after the run folder, in the store that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import json
from pathlib import Path

from mobilenets.training.loggers import Logger, scalars
from mobilenets.watching import Epoch


class _MLflow:
    def __init__(self, run: Path) -> None:
        import mlflow  # type: ignore[import-not-found,unused-ignore]

        self.mlflow = mlflow
        mlflow.set_experiment("mobilenets")
        mlflow.start_run(run_name=run.name)
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
        mlflow.log_params({key: value for key, value in settings["recipe"].items() if key != "augmentation"})

    def log(self, line: Epoch) -> None:
        self.mlflow.log_metrics(
            {name.replace("/", "_"): value for name, value in scalars(line).items()}, step=line.step
        )

    def close(self) -> None:
        self.mlflow.end_run()


def open_logger(run: Path) -> Logger:
    """A logger of a run folder."""
    return _MLflow(run)
