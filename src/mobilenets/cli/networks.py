"""How the command line names a network: a name of the index or a table file, scaled."""

from __future__ import annotations

from mobilenets.table import Network, reduce_tail, scale, with_classes
from mobilenets.zoo import network, networks


def resolve(
    name: str, width: float = 1.0, resolution: int | None = None, classes: int | None = None, *, reduced: bool = False
) -> Network:  # fmt: skip
    """The network that a name means, scaled.

    Args:
        name: name in the index, a head's before it where one is wanted, or a table file (`.json`).
        width: width multiplier on top of the one the table carries.
        resolution: height and width of the input, in pixels; None keeps it.
        classes: outputs of the classifier; None keeps them.
        reduced: half the channels between C4 and C5.

    Raises:
        MisuseError: an unknown name, an unreadable table, a width, resolution or number of classes out of range.
    """
    found = scale(network(name), width, resolution)
    found = reduce_tail(found) if reduced else found
    return found if classes is None else with_classes(found, classes)


def expand(names: tuple[str, ...]) -> list[str]:
    """Names with wildcards replaced by what they match, each once, in order; a name that matches nothing stays."""
    found = [match for name in names for match in (networks(name) if set(name) & set("*?[") else []) or [name]]
    return list(dict.fromkeys(found))
