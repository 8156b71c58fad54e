"""The evidence: one page, one picture and one JSON file."""

from mobilenets.report.page import write_page
from mobilenets.report.parts import artifact, command, history, listed, machine, noise, now, sha256
from mobilenets.report.picture import draw

__all__ = ["artifact", "command", "draw", "history", "listed", "machine", "noise", "now", "sha256", "write_page"]
