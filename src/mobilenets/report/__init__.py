"""The evidence of a `fit`: one picture and one JSON file."""

from mobilenets.report.picture import draw

__all__ = ["draw"]
