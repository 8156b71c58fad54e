"""The web page: what a browser needs to run a model itself, and the page as files for any host."""

from mobilenets.web.described import anchors_bytes, browser_description, runs_in_browser
from mobilenets.web.files import runtime_files
from mobilenets.web.site import Site, write_site

__all__ = [
    "Site",
    "anchors_bytes",
    "browser_description",
    "runs_in_browser",
    "runtime_files",
    "write_site",
]
