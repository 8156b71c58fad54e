"""Near duplicates among many images: a perceptual hash proposes, thumbnails decide.

The hash is the signs of the lowest 63 frequencies (cosine transform) of the grey thumbnail. Images whose hashes share
one of eight bytes and differ in few bits are compared as thumbnails: shifted and stretched onto each other as far as a
small crop explains, then correlated by their differences between neighbouring pixels, so that two seas under two skies,
which are alike in brightness only, do not match. Re-encoded, resized, brightened copies and crops of some percent are
found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Thumbs = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

MAX_BITS = 14
"""Bits in which the hashes of two copies may differ."""

MIN_LIKENESS = 0.8
"""Correlation of two copies. In CIFAR-10 nearly all pairs above it are copies, of those below 0.7 most are not."""

MIN_CONTRAST = 4.0
"""Standard deviation of a thumbnail's pixels below which there is nothing to compare, of 255."""

_ROUGHLY = 0.7  # correlation of the halved thumbnails below which no small crop is the reason
_PART = 0.3  # how much less alike a part may be than the whole
_PLAIN = 0.05  # a part with less than this share of all detail is not judged
_SHIFT = 0.08  # largest shift of an edge that a crop explains, as part of the image
_ROWS, _COLUMNS = 256, 4096  # hashes compared at once
_PAIRS = 4096  # candidates looked at before groups are joined
_CACHED = 128  # thumbnails compared at once: what a processor's cache holds
_MEMBERS = 8  # of a group that are compared with what is outside it
_LOWEST = 8


class Groups:
    """Which of n things belong together (union-find)."""

    def __init__(self, n: int) -> None:
        self.root: Indices = np.arange(n, dtype=np.int64)

    def find(self, i: int) -> int:
        """The representative of a thing's group."""
        while self.root[i] != i:
            self.root[i] = self.root[self.root[i]]
            i = int(self.root[i])
        return i

    def join(self, i: int, j: int) -> None:
        """Put two things, and with them their groups, together."""
        a, b = self.find(i), self.find(j)
        self.root[max(a, b)] = min(a, b)

    def join_all(self, pairs: Indices) -> None:
        """Join many pairs (m 2); from here on `root` names each thing's group itself, so that it can be compared."""
        for i, j in pairs.tolist():
            self.join(i, j)
        while not np.array_equal(above := self.root[self.root], self.root):
            self.root = above

    def several(self) -> list[list[int]]:
        """Groups of two and more, each in order."""
        found: dict[int, list[int]] = defaultdict(list)
        for i in np.flatnonzero(self.root != np.arange(len(self.root))).tolist():
            found[self.find(i)].append(i)
        return [[first, *more] for first, more in sorted(found.items())]


def contrast(thumbs: Thumbs) -> Floats:
    """Standard deviation of each thumbnail's pixels around the mean of their channel; n s s 3 -> n."""
    parts = [thumbs[i : i + _PAIRS].astype(np.float32) for i in range(0, len(thumbs), _PAIRS)]
    spread = [np.sqrt(part.var(axis=(1, 2)).mean(axis=1)) for part in parts]
    return np.concatenate(spread) if spread else np.zeros(0, np.float32)


def hashes(thumbs: Thumbs) -> Hashes:
    """Perceptual hash of each thumbnail; n s s 3 -> n."""
    side = thumbs.shape[1]
    at = np.arange(side)
    waves = np.cos(np.pi * (2 * at[None] + 1) * at[:_LOWEST, None] / (2 * side)).astype(np.float32)
    found = np.empty(len(thumbs), np.uint64)
    for i in range(0, len(thumbs), _PAIRS):
        grey = thumbs[i : i + _PAIRS].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        bits = (waves @ grey @ waves.T > 0).reshape(-1, _LOWEST * _LOWEST)
        bits[:, 0] = False  # the mean
        found[i : i + _PAIRS] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return found


def mirrored_hashes(of: Hashes) -> Hashes:
    """Hashes of the mirror images: odd horizontal frequencies change their sign."""
    odd = np.tile(np.arange(_LOWEST) % 2, _LOWEST).astype(bool)
    flipped: Hashes = of ^ np.packbits(odd).view(np.uint64)
    return flipped


def near_duplicates(thumbs: Thumbs, usable: NDArray[np.bool_]) -> tuple[Groups, Groups]:
    """Groups of near duplicates, and groups that are joined by mirroring only.

    Args:
        thumbs: uint8 n s s 3.
        usable: which of them to compare, n.
    """
    kept = np.flatnonzero(usable & (contrast(thumbs) >= MIN_CONTRAST))
    of, rough = hashes(thumbs[kept]), _rough(thumbs[kept])
    same, mirrored = Groups(len(kept)), Groups(len(kept))
    for pairs in _candidates(of, of, (same,)):
        near = pairs[_product(rough, rough, pairs) >= _ROUGHLY]
        same.join_all(near[likeness(thumbs, thumbs, kept[near]) >= MIN_LIKENESS])
    flipped, rough_flipped = thumbs[:, :, ::-1], rough[:, :, ::-1]
    for pairs in _candidates(of, mirrored_hashes(of), (same, mirrored)):
        near = pairs[_product(rough, rough_flipped, pairs) >= _ROUGHLY]
        mirrored.join_all(near[likeness(thumbs, flipped, kept[near]) >= MIN_LIKENESS])
    return _among(same, kept, len(thumbs)), _among(mirrored, kept, len(thumbs))


def _rough(thumbs: Thumbs) -> Floats:
    """Grey thumbnails of half the size, of mean 0 and length 1; n s s 3 -> n s/2 s/2."""
    n, side = len(thumbs), thumbs.shape[1] // 2
    found = thumbs.reshape(n, side, 2, side, 2, 3).mean(axis=(2, 4, 5), dtype=np.float32)
    found -= found.mean(axis=(1, 2), keepdims=True)
    scaled: Floats = found / (np.linalg.norm(found, axis=(1, 2), keepdims=True) + 1e-6)
    return scaled


def _product(left: Floats, right: Floats, pairs: Indices) -> Floats:
    products: Floats = np.einsum("nhw,nhw->n", left[pairs[:, 0]], right[pairs[:, 1]])
    return products


def _among(groups: Groups, kept: Indices, n: int) -> Groups:
    """Groups of some things as groups of all n."""
    found = Groups(n)
    found.root[kept] = kept[groups.root]
    return found


def _candidates(left: Hashes, right: Hashes, groups: tuple[Groups, ...]) -> Iterator[Indices]:
    """Pairs i < j, in blocks m 2, whose hashes share a byte and differ in at most `MAX_BITS`; each once.

    What is in one group already is not compared again, which tames long bursts of one picture.
    """
    bytes_left, bytes_right = (h.view(np.uint8).reshape(-1, 8) for h in (left, right))
    for band in range(8):
        order = np.argsort(bytes_right[:, band], kind="stable")
        starts = np.searchsorted(bytes_right[order, band], np.arange(257))
        for value in range(256):
            others = order[starts[value] : starts[value + 1]]
            ours = np.flatnonzero(bytes_left[:, band] == value) if len(others) else others
            for i in range(0, len(ours), _ROWS):
                block, facing = ours[i : i + _ROWS], _few_of_each(others, groups)
                for j in range(0, len(facing), _COLUMNS):
                    yield from _apart(_close(left, right, block, facing[j : j + _COLUMNS], band), groups)


def _few_of_each(members: Indices, groups: tuple[Groups, ...]) -> Indices:
    """Things without most of those that are known to be alike: `_MEMBERS` of a group stand for it."""
    for group in groups:
        roots = group.root[members]
        order = np.argsort(roots, kind="stable")
        starts = np.searchsorted(roots[order], roots[order])
        members = members[np.sort(order[np.arange(len(members)) - starts < _MEMBERS])]
    return members


def _apart(pairs: Indices, groups: tuple[Groups, ...]) -> Iterator[Indices]:
    """Pairs in blocks, without those that are in one group by the time they are reached."""
    for start in range(0, len(pairs), _PAIRS):
        part = pairs[start : start + _PAIRS]
        apart = np.all([group.root[part[:, 0]] != group.root[part[:, 1]] for group in groups], axis=0)
        if apart.any():
            yield part[apart]


def _close(left: Hashes, right: Hashes, ours: Indices, others: Indices, band: int) -> Indices:
    differ = left[ours][:, None] ^ right[others][None]
    i, j = np.nonzero((np.bitwise_count(differ) <= MAX_BITS) & (ours[:, None] < others[None]))
    # a byte that agrees in an earlier band: found there
    earlier = (differ[i, j, None].view(np.uint8)[:, :band] == 0).any(axis=1)
    pairs: Indices = np.stack([ours[i], others[j]], axis=1)[~earlier]
    return pairs


def likeness(left: Thumbs, right: Thumbs, pairs: Indices) -> Floats:
    """How alike two pictures are where a small crop is allowed for: a correlation, -1 to 1.

    Args:
        left: thumbnails, n s s 3.
        right: thumbnails, n s s 3.
        pairs: indices into both, m 2.
    """
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _CACHED):
        part = pairs[start : start + _CACHED]
        a, b = _aligned(_normalised(left[part[:, 0]]), _normalised(right[part[:, 1]]))
        whole = _correlation(_detail(a[:, 1:-1, 1:-1]), _detail(b[:, 1:-1, 1:-1]))
        found[start : start + _CACHED] = np.minimum(whole, _worst(a, b))
    return found


def _normalised(thumbs: Thumbs) -> Floats:
    values = thumbs.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    normalised: Floats = values / (values.std(axis=(1, 2, 3), keepdims=True) + 1e-3)
    return normalised


def _aligned(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Both moved half of the way onto each other: least squares over shift and stretch (optical flow's first step)."""
    n, side = a.shape[:2]
    vertical, horizontal = np.gradient((a + b) / 2, axis=(1, 2))
    at = np.linspace(-1, 1, side, dtype=np.float32)
    basis = np.stack(
        [horizontal, vertical, horizontal * at[None, None, :, None], vertical * at[None, :, None, None]], axis=1
    )  # n 4 s s 3
    inner = basis[:, :, 1:-1, 1:-1].reshape(n, 4, -1)
    square = inner @ inner.transpose(0, 2, 1)
    square += np.eye(4, dtype=np.float32) * (1e-3 * np.trace(square, axis1=1, axis2=2)[:, None, None] + 1e-6)
    wanted = inner @ (b - a)[:, 1:-1, 1:-1].reshape(n, -1, 1)
    most = _SHIFT * side
    moves = np.clip(np.linalg.solve(square, wanted)[..., 0], -most, most).astype(np.float32)
    half = np.einsum("nk,nkhwc->nhwc", moves, basis, optimize=True) / 2
    return a + half, b - half


def _worst(a: Floats, b: Floats) -> Floats:
    """Likeness of the part (a quarter or the centre) that is least alike, raised by what a part may fall behind.

    A frame, or a horizon at the same height, makes different pictures alike as a whole.
    """
    side = a.shape[1]
    near, far, centre = slice(1, side // 2), slice(side // 2, -1), slice(side // 5, -(side // 5))
    found = np.ones(len(a), np.float32)
    whole = _energy(a[:, 1:-1, 1:-1]) + _energy(b[:, 1:-1, 1:-1])
    for rows, columns in ((near, near), (near, far), (far, near), (far, far), (centre, centre)):
        part_a, part_b = a[:, rows, columns], b[:, rows, columns]
        energy = _energy(part_a) + _energy(part_b)
        alike = 1 - _energy(part_a - part_b) / (energy + 1e-6) + _PART
        found = np.where(energy > _PLAIN * whole, np.minimum(found, alike), found)
    return found


def _energy(values: Floats) -> Floats:
    energy: Floats = np.square(_detail(values)).sum(axis=1)
    return energy


def _detail(values: Floats) -> Floats:
    """Differences between neighbours; n s s 3 -> n m."""
    rows, columns = np.diff(values, axis=1), np.diff(values, axis=2)
    return np.concatenate([rows.reshape(len(values), -1), columns.reshape(len(values), -1)], axis=1)


def _correlation(a: Floats, b: Floats) -> Floats:
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    correlation: Floats = (a * b).sum(axis=1) / (length + 1e-6)
    return correlation
