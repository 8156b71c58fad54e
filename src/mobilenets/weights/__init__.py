"""Published weights: four projects' names for the same layers; what travels with them; narrower networks, heads."""

from mobilenets.weights.channels import with_channels
from mobilenets.weights.convert import Converted, convert
from mobilenets.weights.fetch import check_source, resolve
from mobilenets.weights.heads import on_backbone
from mobilenets.weights.inherit import by_strength, estimate_norm, inherit
from mobilenets.weights.load import load_anchors, load_weights, restore_norm
from mobilenets.weights.names import ORIGINS, Conventions
from mobilenets.weights.pickles import convert_pickle
from mobilenets.weights.pretrained import pretrained
from mobilenets.weights.published import PUBLISHED, Published, published_for

__all__ = [
    "ORIGINS",
    "PUBLISHED",
    "Conventions",
    "Converted",
    "Published",
    "by_strength",
    "check_source",
    "convert",
    "convert_pickle",
    "estimate_norm",
    "inherit",
    "load_anchors",
    "load_weights",
    "on_backbone",
    "pretrained",
    "published_for",
    "resolve",
    "restore_norm",
    "with_channels",
]
