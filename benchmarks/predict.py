"""Images/s from photos on the disk to rows of a CSV file: this pipeline, what people write, and what is possible.

python -m benchmarks.predict [--files N] [--rounds N] [--networks NAME,...]
python -m benchmarks.predict --big         # photos of 12 megapixels
python -m benchmarks.predict --memory      # peak memory of a list of 100,000 entries
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.decode import photos
from benchmarks.tables import machine
from mobilenets.data import decode
from mobilenets.files import write_bytes
from mobilenets.processors import processors

NAME = "predict"

NETWORKS = ("mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v2")
FILES, ROUNDS = 4000, 3
RESOLUTION = 224
LOADER_BATCH, LOADER_WORKERS = 32, 2
BARS = {"Pillow + PyTorch DataLoader": 2.5, "Pillow + ONNX Runtime loop": 2.0, "limit": 0.85}
BIG_FILES, BIG_BAR, BIG_MEGAPIXELS = 80, 5.0, 12e6
ENTRIES, MEMORY_BAR_MB = 100_000, 600
SIZES_READ = 80

Job = Callable[[Sequence[Path], Path], object]


def build_models(name: str, folder: Path) -> tuple[Any, Path]:
    """A network with random weights at 224: in memory, and as an `.onnx` file."""
    import mobilenets as mn
    from mobilenets.model import arrays
    from mobilenets.onnx import to_onnx

    model: Any = mn.build(mn.scale(mn.network(name), resolution=RESOLUTION), classes=1000)
    file = folder / f"{name}.onnx"
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=tuple(map(str, range(1000))))
    write_bytes(file, proto.SerializeToString())
    return model.eval(), file


def ours(file: Path) -> Job:
    """This pipeline, as `mobilenets predict --out` runs it."""

    def job(files: Sequence[Path], out: Path) -> None:
        from mobilenets.streams import predict_to

        predict_to(out, file, list(files), overwrite=True)

    return job


def square(path: Path) -> Image.Image:
    """The centre of a photo as most people write it."""
    image: Image.Image = Image.open(path).convert("RGB")
    scale = RESOLUTION / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - RESOLUTION) // 2, (image.height - RESOLUTION) // 2
    return image.crop((left, top, left + RESOLUTION, top + RESOLUTION))


def onnxruntime_loop(file: Path) -> Job:
    """Pillow, and ONNX Runtime with the settings that it has by itself, one image after the other."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name

    def job(files: Sequence[Path], out: Path) -> None:
        with out.open("w", newline="") as text:
            rows = csv.writer(text)
            for path in files:
                found = session.run(None, {given: np.asarray(square(path))[None]})[0][0]
                rows.writerow([path, int(found.argmax()), float(found.max())])

    return job


def torch_loader(model: Any) -> Job:
    """Pillow in a DataLoader's workers, and PyTorch in eager mode, a batch after the other."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Photos(Dataset[torch.Tensor]):
        def __init__(self, files: Sequence[Path]) -> None:
            self.files = files
            self.mean, self.std = (
                torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
            )

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> torch.Tensor:
            pixels = torch.from_numpy(np.array(square(self.files[index]))).permute(2, 0, 1)
            return (pixels.float() / 255 - self.mean) / self.std

    def job(files: Sequence[Path], out: Path) -> None:
        torch.set_num_threads(processors())
        batches = DataLoader(Photos(files), batch_size=LOADER_BATCH, num_workers=LOADER_WORKERS)
        names = iter(files)
        with out.open("w", newline="") as text, torch.inference_mode():
            rows = csv.writer(text)
            for batch in batches:
                scores, labels = model(batch).softmax(1).max(1)
                rows.writerows(zip(names, labels.tolist(), scores.tolist(), strict=False))

    return job


def limit(files: Sequence[Path], file: Path) -> tuple[float, float]:
    """Seconds an image of decoding and resizing only, and of the network only, by one thread.

    Processor time, which is the time it takes where nothing else runs, and holds where something does.
    """
    from mobilenets.prediction.predictor import open_model

    session = open_model(file, threads=1)
    distinct = list(dict.fromkeys(files))[:SIZES_READ]
    start = time.process_time()
    squares = [decode.load_image(path, session.preprocessing) for path in distinct]
    decoded = time.process_time()
    for each in squares:
        session.run(each[None])
    return (decoded - start) / len(distinct), (time.process_time() - decoded) / len(distinct)


class Rate(NamedTuple):
    """Images a second, and milliseconds of processor time (of all threads and workers) an image."""

    per_s: float
    processor_ms: float


def measured(files: Sequence[Path], jobs: dict[str, Job], rounds: int, folder: Path) -> dict[str, list[Rate]]:
    """Rates of each job, interleaved, so that a busy moment hits all of them; the first few images only warm up."""
    rates: dict[str, list[Rate]] = {name: [] for name in jobs}
    for job in jobs.values():
        job(files[:LOADER_BATCH], folder / "warm.csv")
    for _ in range(rounds):
        for name, job in jobs.items():
            start, before_s = time.perf_counter(), _processor_s()
            job(files, folder / "out.csv")
            taken_s, used_s = time.perf_counter() - start, _processor_s() - before_s
            rates[name].append(Rate(len(files) / taken_s, 1e3 * used_s / len(files)))
    return rates


def _processor_s() -> float:
    """Processor time of this process and of its workers that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def compare(names: Sequence[str], files: int, rounds: int) -> None:
    """A table for each network: images/s, and how many times as fast this pipeline is."""
    with _photos() as (found, source), tempfile.TemporaryDirectory() as temporary:
        folder, paths = Path(temporary), list(islice(cycle(found), files))
        for name in names:
            model, file = build_models(name, folder)
            jobs = {
                "mobilenets predict": ours(file),
                "Pillow + ONNX Runtime loop": onnxruntime_loop(file),
                "Pillow + PyTorch DataLoader": torch_loader(model),
            }
            bounds = [limit(paths, file)]
            rates = measured(paths, jobs, rounds, folder)
            bounds.append(limit(paths, file))
            decoding, asking = (min(each) for each in zip(*bounds, strict=True))
            rates["limit"] = [Rate(processors() / (decoding + asking), 1e3 * (decoding + asking))]
            title = (
                f"{name} at {RESOLUTION}, {files} files ({source}, repeated), {rounds} rounds, "
                f"{processors()} processors; one image on one processor: {1e3 * decoding:.2f} ms decoding, "
                f"{1e3 * asking:.2f} ms network"
            )
            _print(title, rates, BARS)


def compare_big(rounds: int, files: int) -> None:
    """Photos of 12 megapixels, which are decoded smaller."""
    with _photos() as (found, source), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = list(islice(cycle(_enlarged(found[:8], folder)), files))
        for name in NETWORKS[:1]:
            _, file = build_models(name, folder)
            jobs = {"mobilenets predict": ours(file), "Pillow + ONNX Runtime loop": onnxruntime_loop(file)}
            rates = measured(paths, jobs, rounds, folder)
            title = f"{name} at {RESOLUTION}, {files} JPEGs of 12 megapixels ({source}, enlarged), {rounds} rounds"
            _print(title, rates, {"Pillow + ONNX Runtime loop": BIG_BAR})
            _print_agreement(folder, paths[:8], file)


def _enlarged(files: Sequence[Path], folder: Path) -> list[Path]:
    made = []
    for i, file in enumerate(files):
        image = Image.open(file).convert("RGB")
        scale = (BIG_MEGAPIXELS / (image.width * image.height)) ** 0.5
        made.append(folder / f"big{i}.jpg")
        size = round(image.width * scale), round(image.height * scale)
        image.resize(size, Image.Resampling.BICUBIC).save(made[-1], quality=90)
    return made


def _print_agreement(folder: Path, files: Sequence[Path], file: Path) -> None:
    """How far decoding smaller moves the answers."""
    from mobilenets.prediction import predict
    from mobilenets.prediction.predictor import open_model

    session = open_model(file, threads=1)
    found = predict(file, list(files))
    whole = [session.run(decode.load_image(path, session.preprocessing)[None])[0] for path in files]
    same = sum(each.label == str(row.argmax()) for each, row in zip(found, whole, strict=True))
    moved = max(abs(each.top[0][1] - row.max()) for each, row in zip(found, whole, strict=True))
    print(f"decoded smaller and whole: {same} of {len(files)} labels alike, probabilities within {moved:.1e}")


def memory(entries: int, network: str) -> None:
    """Peak memory of a process that predicts a long list."""
    with _photos() as (found, source), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _, file = build_models(network, folder)
        names = folder / "list.txt"
        names.write_text("".join(f"{path}\n" for path in islice(cycle(found), entries)))
        code = (
            "import sys; from pathlib import Path; from mobilenets.streams import predict_to; "
            "done = predict_to(sys.argv[3], sys.argv[1], '@' + sys.argv[2]); "
            # not getrusage's, which has the peak of the process that started this one, too
            "status = Path('/proc/self/status').read_text().splitlines(); "
            "print(done.rows, next(line.split()[1] for line in status if line.startswith('VmHWM')))"
        )
        command = [sys.executable, "-c", code, str(file), str(names), str(folder / "out.csv")]
        start = time.perf_counter()
        rows, peak_kb = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        taken_s, peak_mb = time.perf_counter() - start, peak_kb / 1024
        verdict = "holds" if peak_mb < MEMORY_BAR_MB else "MISSED"
        print(
            f"{network}, {rows:,} rows of a list of {entries:,} ({source}, repeated): peak {peak_mb:.0f} MB, bar "
            f"{MEMORY_BAR_MB} MB {verdict}; {rows / taken_s:,.0f} images/s"
        )


def _print(title: str, rates: dict[str, list[Rate]], bars: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(
        ("what", "images/s, median", "range", "n", "ours / this", "bar", "processor ms an image", "this / ours")
    ):
        table.add_column(heading, justify="right" if i else "left")
    mine = _middle(rates["mobilenets predict"])
    for name, each in rates.items():
        median, values = _middle(each), [rate.per_s for rate in each]
        ratio = mine.per_s / median.per_s
        bar = "" if name not in bars else f"{bars[name]} {'holds' if ratio >= bars[name] else 'MISSED'}"
        middle = f"{min(values):,.1f} - {max(values):,.1f}"
        cells = [f"{median.per_s:,.1f}", middle, str(len(each)), f"{ratio:.2f}", bar]
        table.add_row(name, *cells, f"{median.processor_ms:.2f}", f"{median.processor_ms / mine.processor_ms:.2f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _middle(rates: Sequence[Rate]) -> Rate:
    return Rate(*(statistics.median(values) for values in zip(*rates, strict=True)))


@contextlib.contextmanager
def _photos() -> Iterator[tuple[list[Path], str]]:
    with photos() as (files, source):
        yield list(files), source


def run() -> None:
    """All networks against what people write, and the limit."""
    compare(NETWORKS, FILES, ROUNDS)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    print(f"{machine()}, Pillow {version('pillow')}; {processors()} of {os.cpu_count()} processors allowed")
    if asked.memory:
        memory(asked.entries, asked.networks.split(",")[0])
    elif asked.big:
        compare_big(asked.rounds, asked.files or BIG_FILES)
    else:
        compare(asked.networks.split(","), asked.files or FILES, asked.rounds)


if __name__ == "__main__":
    main()
