from pathlib import Path

import numpy as np

from mobilenets.data.batches import eval_batches, train_order
from mobilenets.data.cache import Squares


def squares(n: int, images: np.ndarray | None = None) -> Squares:
    if images is None:
        images = np.empty((n, 4, 4, 3), np.uint8)
    images[:] = np.arange(n, dtype=np.uint8)[:, None, None, None]
    return Squares(images, np.arange(n, dtype=np.int64), tuple(Path(f"{i}.jpg") for i in range(n)))


def order(data: Squares, batch_size: int, **options: object) -> list[list[int]]:
    return [chosen.tolist() for chosen in train_order(data, batch_size, **({"seed": 0, "epoch": 0} | options))]


def test_train_batches_are_shuffled_by_seed_and_epoch():
    data = squares(20)
    first = order(data, 4)
    assert first == order(data, 4)
    assert first != order(data, 4, epoch=1)
    assert first != order(data, 4, seed=1)
    assert sorted(i for batch in first for i in batch) == list(range(20))


def test_the_small_last_batch():
    assert [len(y) for y in order(squares(10), 4)] == [4, 4]
    assert [len(y) for y in order(squares(3), 4)] == [3]
    assert [len(y) for y in order(squares(4), 4)] == [4]
    assert [y.tolist() for _, y in eval_batches(squares(10), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_rare_classes_are_drawn_alike():
    labels = np.array([0] * 90 + [1] * 10)
    data = Squares(np.zeros((100, 4, 4, 3), np.uint8), labels, ())
    drawn = [labels[i] for epoch in range(20) for batch in order(data, 10, epoch=epoch, alike=True) for i in batch]
    assert 0.45 < np.mean(drawn) < 0.55


def test_batches_are_copies_also_of_a_memory_map(tmp_path):
    images = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(8, 4, 4, 3))
    data = squares(8, images)
    for x, y in eval_batches(data, 4):
        x.zero_()
        y.zero_()
    assert data.images[7].min() == 7 and data.labels[7] == 7
