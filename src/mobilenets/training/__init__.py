"""Training: recipes, the loop, run folders, teachers, several processes."""

from mobilenets.training.keeping import STATE, execute, run_files
from mobilenets.training.loop import Training
from mobilenets.training.recipe import RECIPES, Finetune, Paper, Recipe, Scratch, recipe_named
from mobilenets.training.run import load_splits, train
from mobilenets.training.validation import predict_squares
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
