"""Where a model's weights come from and under what licence: facts for a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.weights.published import PUBLISHED, Published

UNKNOWN = "not stated by the file"


def provenance(network: str, source: str | Path | None) -> list[dict[str, Any]]:
    """Licences of what a training started from, as a report lists them; see `report.schema.Licence`.

    Args:
        network: name in the index.
        source: path or address that the training started from (`Start.source`); None for random weights.
    """
    if source is None:
        return [{"what": "weights before training", "source": "random", "licence": "", "note": "nothing to license"}]
    known = _published(network, str(source))
    if known is None:
        return [{"what": "weights before training", "source": str(source), "licence": UNKNOWN, "note": ""}]
    told = f"{known.top1:g} % ImageNet top-1 at {known.resolution} px ({known.source}); {known.recipe}"
    return [
        {"what": "weights before training", "source": known.address, "licence": known.licence, "note": told},
    ]


def _published(network: str, source: str) -> Published | None:
    """The published weights that a source names: by their address, or by their repository's folder in a cache."""
    for known in PUBLISHED:
        kept = known.repo.replace("/", "--")  # how the hub's cache writes it
        if known.network == network and (known.repo in source or kept in source):
            return known
    return None
