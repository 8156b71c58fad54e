"""TensorBoard: event files in the run folder (`tensorboard --logdir runs`)."""

from __future__ import annotations

from pathlib import Path

from mobilenets.training.loggers import Logger, scalars
from mobilenets.watching import Epoch


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"))

    def log(self, line: Epoch) -> None:
        for name, value in scalars(line).items():
            self.writer.add_scalar(name, value, line.step)

    def close(self) -> None:
        self.writer.close()


def open_logger(run: Path) -> Logger:
    """A logger of a run folder."""
    return _TensorBoard(run)
