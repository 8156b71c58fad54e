"""Models over HTTP: images are posted, answers computed in batches, and a page shows them. Needs the extra `serve`."""

from mobilenets.serve.settings import Settings

__all__ = ["Settings"]
