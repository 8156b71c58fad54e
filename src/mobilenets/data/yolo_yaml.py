"""The few lines of a YOLO data set's `data.yaml` that say where images lie and what the classes are called.

YAML's plain forms are read: `key: value`, lists in brackets or line by line, mappings in braces or line by line. Other
keys are passed by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.listing import SPLITS
from mobilenets.errors import DataError

__all__ = ["Description", "read_description"]

_KEY = re.compile(r"""^(?P<key>"[^"]*"|'[^']*'|[^\s#:'"\[{][^:#]*?)\s*:(?:\s+(?P<value>.*))?$""")
_FIELDS = ("path", "names", *SPLITS)


@dataclass(frozen=True, slots=True)
class Description:
    """What the file says.

    Attributes:
        path: the folder that the others are relative to; None where it says none.
        names: of the classes, in order.
        splits: folders or lists of images, by split.
    """

    path: str | None
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]


def read_description(file: Path) -> Description | None:
    """What a YAML file says of a data set; None where it describes none: it has no `names`.

    Raises:
        DataError: the file cannot be read, or one of these keys has a form that is not known.
    """
    try:
        blocks = dict(_blocks(file.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}.") from error
    if "names" not in blocks:
        return None
    try:
        path = _list(blocks["path"]) if "path" in blocks else []
        splits = {SPLITS[key]: found for key, lines in blocks.items() if key in SPLITS and (found := _list(lines))}
        names = _names(blocks["names"])
    except ValueError as error:
        raise DataError(
            f"{file}: {error}, which is not understood; expected such as train: images/train and names: [cat, dog]."
        ) from error
    return Description(path[0] if path else None, names, {key: tuple(found) for key, found in splits.items()})


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Keys at the left edge with the lines that belong to them, the first being what follows the key."""
    key, lines = "", list[str]()
    for raw in text.splitlines():
        line = _without_comment(raw)
        if not line.strip() or line.strip() in ("---", "..."):
            continue
        found = _KEY.match(line)
        if found and not line[0].isspace() and not _open(lines):
            if key in _FIELDS:
                yield key, lines
            key, lines = _unquoted(found["key"]), [found["value"] or ""]
        else:
            lines.append(line)
    if key in _FIELDS:
        yield key, lines


def _open(lines: list[str]) -> bool:
    """Whether a bracket is still to be closed."""
    text = " ".join(lines)
    return text.count("[") + text.count("{") > text.count("]") + text.count("}")


def _without_comment(line: str) -> str:
    return re.sub(r"""(^|\s)#(?=(?:[^'"]*(?:'[^']*'|"[^"]*"))*[^'"]*$).*""", "", line).rstrip()


def _list(lines: list[str]) -> list[str]:
    """A value, or the values of a list."""
    text = " ".join(line.strip() for line in lines).strip()
    if text.startswith("["):
        return _within(text, "]")
    items = [line.strip() for line in lines if line.strip()]
    if items and all(item.startswith("- ") or item == "-" for item in items):
        return [_plain(item[1:]) for item in items]
    if len(items) > 1:
        raise ValueError(f"it says {text[:80]!r}")
    return [_plain(item) for item in items if item not in ("null", "~")]


def _names(lines: list[str]) -> tuple[str, ...]:
    text = " ".join(line.strip() for line in lines).strip()
    if text.startswith("{"):
        pairs = [_pair(item) for item in _within(text, "}", plain=False)]
    elif lines[0].strip() or text.startswith("-"):
        return _distinct(_list(lines))
    else:
        pairs = [_pair(line.strip()) for line in lines if line.strip()]
    numbered = dict(pairs)
    if sorted(numbered) != list(range(len(pairs))):
        raise ValueError(f"the numbers of its names are {sorted(numbered)}, not 0 to {len(pairs) - 1}")
    return _distinct([numbered[i] for i in range(len(pairs))])


def _distinct(names: list[str]) -> tuple[str, ...]:
    if not names:
        raise ValueError("it has no names")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"the name {twice[0]!r} is there twice")
    return tuple(names)


def _pair(item: str) -> tuple[int, str]:
    found = re.match(r"""['"]?(\d+)['"]?\s*:\s*(.+)$""", item)
    if found is None:
        raise ValueError(f"one of its names says {item!r}")
    return int(found[1]), _plain(found[2])


def _within(text: str, end: str, *, plain: bool = True) -> list[str]:
    """What stands between brackets, with commas between."""
    if not text.endswith(end):
        raise ValueError(f"it says {text[:80]!r}, without a closing {end}")
    items = re.findall(r"""(?:"[^"]*"|'[^']*'|[^,'"]|(?<=\w)['"])+""", text[1:-1])
    return [_plain(item) if plain else item.strip() for item in items if item.strip()]


def _plain(text: str) -> str:
    value = _unquoted(text.strip())
    if not value or (value == text.strip() and value[0] in "&*!|>[{%@`"):
        raise ValueError(f"it says {text.strip()!r}")
    return value


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
