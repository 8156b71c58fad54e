"""What a prediction is scored by, task by task."""

from mobilenets.metrics import detection, segmentation
from mobilenets.metrics.classification import average_precision, mean_average_precision
from mobilenets.metrics.tasks import METRICS, SPOKEN, Task

__all__ = ["METRICS", "SPOKEN", "Task", "average_precision", "detection", "mean_average_precision", "segmentation"]
