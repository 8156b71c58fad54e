"""Training: recipes, the loop, run folders."""

from mobilenets.training.loop import Epoch, Tick, Training, predict_squares
from mobilenets.training.recipe import Recipe
from mobilenets.training.run import STATE, Watcher, execute, load_splits, train

__all__ = ["STATE", "Epoch", "Recipe", "Tick", "Training", "Watcher", "execute", "load_splits", "predict_squares", "train"]
