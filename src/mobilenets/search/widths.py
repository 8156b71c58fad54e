"""Which widths of a table can give, which of them share one width, and tables that are narrower in one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, assert_never

from mobilenets.errors import MisuseError
from mobilenets.table.lower import lower
from mobilenets.table.nodes import Node, row_of
from mobilenets.table.rows import (
    AdaptivePool,
    Aspp,
    Bottleneck,
    BoxPredictor,
    BranchedConv,
    Conv,
    DenseBlock,
    DepthwiseSeparable,
    ExtraFeatures,
    Fire,
    FusedBottleneck,
    Inception,
    JoinToken,
    Linear,
    LiteAspp,
    LiteBottleneck,
    MaxPool,
    MobileFormer,
    MobileOneBlock,
    MobileToFormer,
    MultiQueryAttention,
    Network,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
    Tokens,
    UniversalBottleneck,
    Upsample,
    XceptionBlock,
)

SUFFIX = "_netadapt"
"""Of an adapted network's name: its widths are no longer those of a width multiplier."""

Kind = Literal["expansion", "bottleneck", "layer"]


class Place(NamedTuple):
    """A width in a table: the row's index from 0, its field, and the position where the field holds several."""

    row: int
    field: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Dimension:
    """A width that can give; all its places have it.

    Attributes:
        kind: what it is.
        places: where it stands.
    """

    kind: Kind
    places: tuple[Place, ...]

    def width(self, network: Network) -> int:
        """Its channels in a network."""
        return _read(network.rows[self.places[0].row], self.places[0])

    @property
    def label(self) -> str:
        """In words: `expansion of row 4`, `bottleneck of rows 5, 6`."""
        rows = sorted({place.row + 1 for place in self.places})
        field = self.places[0].field
        part = "" if self.kind != "layer" or field == "out" else f" ({field})"
        return f"{self.kind} of row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}{part}"


def dimensions(network: Network) -> tuple[Dimension, ...]:
    """The widths that can give, in the order of the rows; those of the backbone and of a head alike.

    Every expansion is one, and every layer's output. All bottlenecks of one resolution and one width share it (V3,
    section 4.2: residuals tie them), and a block without an expansion convolution shares its input's width. The
    classifier gives nothing.

    Raises:
        MisuseError: channels that cannot be chosen one by one (attention, tokens, groups).
    """
    nodes = lower(network, training=True)
    names = {node.name for node in nodes}
    heights = _heights(nodes)
    kinds: dict[Place, Kind] = {}
    parent: dict[Place, Place] = {}
    shared: dict[tuple[int, int], Place] = {}
    entering: Place | None = None
    channels = network.in_channels
    for i, row in enumerate(network.rows):
        places = dict(_places(network, i, row))
        kinds |= places
        parent |= {place: place for place in places}
        leaving = Place(i, "out") if Place(i, "out") in places else None
        if isinstance(row, XceptionBlock):
            leaving = Place(i, "widths", len(row.widths) - 1)
        # without an expansion convolution the depthwise one has the input's channels
        if isinstance(row, Bottleneck) and row.expand == channels:
            _tie(parent, Place(i, "expand"), entering)
        if leaving is not None and _residual(i, row, names):
            _tie(parent, leaving, entering)
        if leaving is not None and kinds[leaving] == "bottleneck":
            _tie(parent, leaving, shared.setdefault((heights[i + 1], _read(row, leaving)), leaving))
        entering, channels = _next(row, leaving, entering, channels)
    groups: dict[Place, list[Place]] = {}
    for place in parent:
        groups.setdefault(_root(parent, place), []).append(place)
    fixed = {place for place in parent if place.row < 0}
    return tuple(
        Dimension(
            _kind([kinds[p] for p in group]), tuple(sorted(group, key=lambda p: (p.row, p.field, p.position or 0)))
        )
        for root, group in groups.items()
        if root not in fixed and fixed.isdisjoint(group)
    )


_INPUT = Place(-1, "in_channels")


def _tie(parent: dict[Place, Place], one: Place, other: Place | None) -> None:
    """Two places have one width; without another one it is the image's, or one that follows from several."""
    parent.setdefault(_INPUT, _INPUT)
    first, second = _root(parent, one), _root(parent, other or _INPUT)
    if first != second:
        parent[max(first, second)] = min(first, second)


def _root(parent: dict[Place, Place], place: Place) -> Place:
    while parent[place] != place:
        place = parent[place]
    return place


def _kind(kinds: list[Kind]) -> Kind:
    """Of a width that several places share."""
    return next((kind for kind in ("bottleneck", "layer") if kind in kinds), "expansion")


def _heights(nodes: tuple[Node, ...]) -> dict[int, int]:
    """Height of what leaves each row (from 1)."""
    return {row_of(node): node.shape[1] for node in nodes if len(node.shape) == 3}


def _residual(i: int, row: Row, names: set[str]) -> bool:
    """Whether a row adds its input, so that its output has the input's channels."""
    prefix = f"row{i + 1:02d}."
    match row:
        case Bottleneck() | UniversalBottleneck() | FusedBottleneck():
            return f"{prefix}add" in names
        case XceptionBlock():
            return row.stride == 1
        case MobileOneBlock():
            return f"{prefix}pointwise.skip.bn" in names
        case BranchedConv():
            return f"{prefix}conv.skip.bn" in names
        case _:
            return False


def _next(row: Row, leaving: Place | None, entering: Place | None, channels: int) -> tuple[Place | None, int]:
    """(place of the width that flows on, its channels)."""
    match row:
        case Pool() | MaxPool() | AdaptivePool() | Upsample():
            return entering, channels
        case DenseBlock():
            return None, channels + row.layers * row.growth
        case Fire() | Inception():
            return None, 0
        case _ if leaving is not None:
            return leaving, _read(row, leaving)
        case _:
            return None, 0


def _places(network: Network, i: int, row: Row) -> Iterator[tuple[Place, Kind]]:
    """The widths that a row prints; the number of classes is none."""
    match row:
        case Linear() | PlainConv() if i == network.classifier:
            return
        case Bottleneck() | UniversalBottleneck() | FusedBottleneck():
            if isinstance(row, FusedBottleneck) and row.groups > 1:
                raise _refused(network, i, row, "groups")
            yield Place(i, "expand"), "expansion"
            yield Place(i, "out"), "bottleneck"
        case Conv() if row.groups > 1:
            raise _refused(network, i, row, "groups")
        case (
            Conv() | DepthwiseSeparable() | BranchedConv() | MobileOneBlock() | Linear() | PlainConv() | SeparableConv()
            | ExtraFeatures() | Aspp()
        ):  # fmt: skip
            yield Place(i, "out"), "layer"
        case DenseBlock():
            yield Place(i, "growth"), "layer"
        case Fire():
            yield from ((Place(i, field), "layer") for field in ("squeeze", "expand1", "expand3"))
        case Inception():
            fields = ("conv1", "reduce3", "conv3", "reduce5", "conv5", "proj")
            yield from ((Place(i, field), "layer") for field in fields)
        case XceptionBlock():
            yield from ((Place(i, "widths", k), "layer") for k in range(len(row.widths)))
        case LiteAspp():
            yield Place(i, "filters"), "layer"
        case MultiQueryAttention() | Tokens() | LiteBottleneck() | MobileFormer() | MobileToFormer() | JoinToken():
            raise _refused(network, i, row, "attention or tokens")
        case Pool() | MaxPool() | AdaptivePool() | BoxPredictor() | Upsample():
            return
        case _:
            assert_never(row)


def _refused(network: Network, i: int, row: Row, why: str) -> MisuseError:
    return MisuseError(
        f"{network.label}: {type(row).__name__} in row {i + 1} has {why}: its channels cannot be chosen one by one. "
        "NetAdapt works on MobileNetV1 to V3, V4's convolutional networks and others of plain convolutions."
    )


def _read(row: Row, place: Place) -> int:
    value = getattr(row, place.field)
    return int(value if place.position is None else value[place.position])


def with_width(network: Network, dimension: Dimension, width: int) -> Network:
    """The same table with another width in one dimension; its name says that it is adapted."""
    rows = list(network.rows)
    for place in dimension.places:
        value: int | tuple[int, ...] = width
        if place.position is not None:
            before = getattr(rows[place.row], place.field)
            value = (*before[: place.position], width, *before[place.position + 1 :])
        rows[place.row] = replace(rows[place.row], **{place.field: value})  # type: ignore[arg-type]
    name = network.name if network.name.endswith(SUFFIX) else network.name + SUFFIX
    return replace(network, rows=tuple(rows), name=name)


def narrower(
    network: Network, dimension: Dimension, divisor: int, *, narrowest_first: bool = False
) -> Iterator[tuple[int, Network]]:
    """(width, table) for every smaller multiple of the divisor, the widest first.

    Widths that would change what the table is made of are left out: a residual that appears where channels become
    equal, an expansion convolution that goes where it no longer expands.
    """
    before = _operators(network)
    width = dimension.width(network)
    widths = range(divisor, width, divisor)
    for smaller in widths if narrowest_first else reversed(widths):
        found = with_width(network, dimension, smaller)
        try:
            same = _operators(found) == before
        except MisuseError:  # channels that cannot be split as a row wants
            continue
        if same:
            yield smaller, found


def narrowest(network: Network, divisor: int) -> Network:
    """The table with every width as small as it gets: the end of every way down."""
    for dimension in dimensions(network):
        _, network = next(narrower(network, dimension, divisor, narrowest_first=True), (0, network))
    return network


def _operators(network: Network) -> tuple[str, ...]:
    return tuple(node.name for node in lower(network, training=True))
