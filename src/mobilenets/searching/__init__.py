"""Architecture search as a job: a data set and a budget in, trained, proven networks out."""

from mobilenets.searching.ladder import spearman
from mobilenets.searching.search import Search, search

__all__ = ["Search", "search", "spearman"]
