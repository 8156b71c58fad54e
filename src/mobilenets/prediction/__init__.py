"""Images to labels, and labelled images to a score, by a checkpoint or an exported file alike."""

from mobilenets.prediction.evaluate import Evaluation, evaluate, evaluate_samples, score
from mobilenets.prediction.mistakes import WorstMistakes, confusion
from mobilenets.prediction.predict import Prediction, predict
from mobilenets.prediction.predictor import Predictor, open_model

__all__ = [
    "Evaluation",
    "Prediction",
    "Predictor",
    "WorstMistakes",
    "confusion",
    "evaluate",
    "evaluate_samples",
    "open_model",
    "predict",
    "score",
]
