"""What a network must be for a thing to be done with it."""

from __future__ import annotations

from mobilenets.errors import MisuseError
from mobilenets.table.rows import Network


def need_classifier(network: Network, doing: str) -> None:
    """Refuse a network with a head for boxes or masks where only classifiers are known so far.

    Args:
        network: of any task.
        doing: what was asked for, such as `training`.

    Raises:
        MisuseError: it is no classifier.
    """
    if network.task != "classify":
        gives = {"detect": "boxes", "segment": "a mask"}[network.task]
        raise MisuseError(
            f"{network.name} gives {gives}: {doing} is there for classifiers only so far. It can be counted, shown, "
            "timed, built and given published weights."
        )
