"""Training: recipes, the loop, run folders."""

from mobilenets.training.loop import Training, predict_squares
from mobilenets.training.recipe import Recipe
from mobilenets.training.run import STATE, execute, load_splits, run_files, train
from mobilenets.watching import Epoch, Tick, Watcher

__all__ = [
    "STATE",
    "Epoch",
    "Recipe",
    "Tick",
    "Training",
    "Watcher",
    "execute",
    "load_splits",
    "predict_squares",
    "run_files",
    "train",
]
