"""Networks as JSON: `{"name": ..., "rows": [{"op": "Conv", "kernel": 3, ...}, ...]}` and back, exactly."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.table import rows as _rows
from mobilenets.table.rows import Network, Row

ROW_TYPES: dict[str, type[Row]] = {cls.__name__: cls for cls in typing.get_args(Row)}
"""Row types by the name they have in a table file."""

FORMAT = "mobilenets-table/1"


def to_dict(network: Network) -> dict[str, Any]:
    """A network as plain JSON values."""
    data: dict[str, Any] = {"format": FORMAT}
    data |= {f.name: getattr(network, f.name) for f in fields(network) if f.name != "rows"}
    data["rows"] = [{"op": type(row).__name__, **_plain(asdict(row))} for row in network.rows]
    return _plain(data)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, StrEnum) else list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def from_dict(data: object, *, where: str = "table") -> Network:
    """A network from plain JSON values.

    Raises:
        MisuseError: the values are not a table; the message names the row and the field.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise MisuseError(f'{where}: not a network table: expected `"format": "{FORMAT}"`, got {found!r}.')
    values = {k: v for k, v in data.items() if k not in ("format", "rows")}
    listed = data.get("rows")
    if not isinstance(listed, list) or not listed:
        raise MisuseError(f"{where}: `rows` must be a non-empty list of rows.")
    parsed = tuple(_row(item, f"{where}, row {i}") for i, item in enumerate(listed, 1))
    network: Network = _construct(Network, {**values, "rows": parsed}, where)
    return network


def dumps(network: Network) -> str:
    """A network as JSON text, one row a line."""
    data = to_dict(network)
    listed = ",\n    ".join(json.dumps(row) for row in data.pop("rows"))
    head = json.dumps(data, indent=2)[:-2]
    return f'{head},\n  "rows": [\n    {listed}\n  ]\n}}\n'


def loads(text: str, *, where: str = "table") -> Network:
    """A network from JSON text.

    Raises:
        MisuseError: text that is not JSON, or not a table.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise MisuseError(f"{where}: not JSON: {error}.") from error
    return from_dict(data, where=where)


def read(path: str | Path) -> Network:
    """A network from a table file.

    Raises:
        MisuseError: no such file, or not a table.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read the table {path}: {error}.") from error
    return loads(text, where=str(path))


def _row(item: object, where: str) -> Row:
    if not isinstance(item, dict) or "op" not in item:
        raise MisuseError(f"{where}: expected an object with an `op`, got {item!r}.")
    op = item["op"]
    if op not in ROW_TYPES:
        raise UnknownNameError(f"row type in {where}:", str(op), ROW_TYPES, hint=f"Known: {', '.join(ROW_TYPES)}.")
    row: Row = _construct(ROW_TYPES[op], {k: v for k, v in item.items() if k != "op"}, where)
    return row


def _construct(cls: type[Any], values: dict[str, Any], where: str) -> Any:
    """`cls(**values)` with each value checked against the field's annotation."""
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise MisuseError(f"{where}: unknown field {unknown[0]!r}; {cls.__name__} has {', '.join(known)}.")
    required = {name for name, f in known.items() if f.default is MISSING}
    if missing := sorted(required - set(values)):
        raise MisuseError(f"{where}: {cls.__name__} lacks {', '.join(missing)}.")
    hints = typing.get_type_hints(cls, vars(_rows))
    return cls(**{name: _value(value, hints[name], f"{where}, {name}") for name, value in values.items()})


def _value(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            raise MisuseError(f"{where}: {value!r} is not one of {', '.join(hint)}.")
        return hint(value)
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise MisuseError(f"{where}: {value!r} is not one of {', '.join(typing.get_args(hint))}.")
        return value
    if origin is types.UnionType and value is None:
        return None
    if isinstance(value, tuple):
        return value  # the rows, read before
    if origin is tuple:
        if not isinstance(value, list):
            raise MisuseError(f"{where}: expected a list of numbers, got {value!r}.")
        return tuple(_value(item, typing.get_args(hint)[0], f"{where}[{i}]") for i, item in enumerate(value))
    wanted = typing.get_args(hint)[0] if origin is types.UnionType else hint
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise MisuseError(f"{where}: expected {wanted.__name__}, got {value!r}.")
    if wanted is int and value < (0 if where.endswith(", pad") else 1):
        raise MisuseError(f"{where}: must be {'0 or more' if where.endswith(', pad') else 'at least 1'}, got {value}.")
    if wanted is float and not 0 <= value < float("inf"):
        raise MisuseError(f"{where}: must be a number from 0, got {value}.")
    return value
