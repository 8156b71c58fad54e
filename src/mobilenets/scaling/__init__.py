"""A million photos: a model on a Ray cluster, exactly one row per input."""

from mobilenets.scaling.cluster import ClusterRun, predict_cluster

__all__ = ["ClusterRun", "predict_cluster"]
