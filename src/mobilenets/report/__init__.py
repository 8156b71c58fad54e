"""The evidence: one page, one picture and one JSON file."""

from mobilenets.report.page import write_page
from mobilenets.report.parts import command, history, listed, machine, now, sha256
from mobilenets.report.picture import draw

__all__ = ["command", "draw", "history", "listed", "machine", "now", "sha256", "write_page"]
