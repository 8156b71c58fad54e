"""The web page: plain JavaScript modules without a build step. Servers and static sites show the same files."""

from pathlib import Path

PAGE = Path(__file__).resolve().parent / "static"
"""Folder of the page: `index.html`, which is given at /, and what it loads, which is given at /static/."""
