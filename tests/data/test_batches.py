from pathlib import Path

import numpy as np
import pytest
import torch

from mobilenets.data.batches import eval_batches, train_batches
from mobilenets.data.cache import Squares


def squares(n: int, images: np.ndarray | None = None) -> Squares:
    if images is None:
        images = np.empty((n, 4, 4, 3), np.uint8)
    images[:] = np.arange(n, dtype=np.uint8)[:, None, None, None]
    return Squares(images, np.arange(n, dtype=np.int64), tuple(Path(f"{i}.jpg") for i in range(n)))


def labels(batches):
    return [y.tolist() for _, y in batches]


def test_train_batches_are_shuffled_by_seed_and_epoch():
    data = squares(20)
    first = labels(train_batches(data, 4, seed=0, epoch=0))
    assert first == labels(train_batches(data, 4, seed=0, epoch=0))
    assert first != labels(train_batches(data, 4, seed=0, epoch=1))
    assert first != labels(train_batches(data, 4, seed=1, epoch=0))
    assert sorted(label for batch in first for label in batch) == list(range(20))


def test_images_go_with_their_labels():
    for x, y in train_batches(squares(20), 6, seed=0, epoch=0):
        assert x.dtype == torch.uint8 and y.dtype == torch.int64 and x.shape == (6, 4, 4, 3)
        assert x[:, 0, 0, 0].tolist() == y.tolist()


def test_the_small_last_batch():
    assert [len(y) for y in labels(train_batches(squares(10), 4, seed=0, epoch=0))] == [4, 4]
    assert [len(y) for y in labels(train_batches(squares(3), 4, seed=0, epoch=0))] == [3]
    assert [len(y) for y in labels(train_batches(squares(4), 4, seed=0, epoch=0))] == [4]
    assert labels(eval_batches(squares(10), 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("batches", [lambda s: train_batches(s, 4, seed=0, epoch=0), lambda s: eval_batches(s, 4)])
def test_batches_are_copies_also_of_a_memory_map(tmp_path, batches):
    images = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(8, 4, 4, 3))
    data = squares(8, images)
    for x, y in batches(data):
        x.zero_()
        y.zero_()
    assert data.images[7].min() == 7 and data.labels[7] == 7
