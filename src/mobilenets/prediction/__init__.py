"""Images to labels, boxes or masks, and labelled images to a score, by a checkpoint or an exported file alike."""

from mobilenets.prediction.batch_function import BatchFunction, batch_function
from mobilenets.prediction.coco import to_coco
from mobilenets.prediction.evaluate import Evaluation, Scored, evaluate, evaluate_labelled, evaluate_samples, score
from mobilenets.prediction.found import Detection, Prediction, Region
from mobilenets.prediction.mistakes import WorstMistakes, confusion
from mobilenets.prediction.predict import predict, predict_files, predict_stream
from mobilenets.prediction.predictor import Predictor, open_model
from mobilenets.prediction.region_mistakes import BoxMistakes, MaskMistakes
from mobilenets.prediction.scoring import DetectionEvaluation, SegmentationEvaluation, evaluate_boxes, evaluate_masks
from mobilenets.prediction.video import Video, is_video, predict_videos

__all__ = [
    "BatchFunction",
    "BoxMistakes",
    "Detection",
    "DetectionEvaluation",
    "Evaluation",
    "MaskMistakes",
    "Prediction",
    "Predictor",
    "Region",
    "Scored",
    "SegmentationEvaluation",
    "Video",
    "WorstMistakes",
    "batch_function",
    "confusion",
    "evaluate",
    "evaluate_boxes",
    "evaluate_labelled",
    "evaluate_masks",
    "evaluate_samples",
    "is_video",
    "open_model",
    "predict",
    "predict_files",
    "predict_stream",
    "predict_videos",
    "score",
    "to_coco",
]
