"""Images to labels, boxes or masks, and labelled images to a score, by a checkpoint or an exported file alike."""

from mobilenets.prediction.coco import to_coco
from mobilenets.prediction.evaluate import Evaluation, evaluate, evaluate_samples, score
from mobilenets.prediction.found import Detection, Prediction, Region
from mobilenets.prediction.mistakes import WorstMistakes, confusion
from mobilenets.prediction.predict import predict, predict_files
from mobilenets.prediction.predictor import Predictor, open_model

__all__ = [
    "Detection",
    "Evaluation",
    "Prediction",
    "Predictor",
    "Region",
    "WorstMistakes",
    "confusion",
    "evaluate",
    "evaluate_samples",
    "open_model",
    "predict",
    "predict_files",
    "score",
    "to_coco",
]
