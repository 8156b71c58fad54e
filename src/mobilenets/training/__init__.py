"""Training: recipes, the loop, run folders, teachers, several processes."""

from mobilenets.training.loop import Training, predict_squares
from mobilenets.training.recipe import RECIPES, Finetune, Paper, Recipe, Scratch, recipe_named
from mobilenets.training.run import STATE, execute, load_splits, run_files, train
from mobilenets.watching import Epoch, Tick, Watcher

__all__ = [
    "RECIPES",
    "STATE",
    "Epoch",
    "Finetune",
    "Paper",
    "Recipe",
    "Scratch",
    "Tick",
    "Training",
    "Watcher",
    "execute",
    "load_splits",
    "predict_squares",
    "recipe_named",
    "run_files",
    "train",
]
