"""`mobilenets serve` against a plain FastAPI endpoint: requests a second, p50 and p99 at 1, 8 and 64 clients.

python -m benchmarks.serve --seconds 60             # both servers by turns
python -m benchmarks.serve --distinct 20000         # every answer compared with its image's own
python -m benchmarks.serve --memory 100000          # resident memory over so many requests
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine

NAME = "serve"

CLIENTS = (1, 8, 64)
ROUNDS = 3
BAR = 1.5
PATH = "/v1/models/it:predict"
TOLERANCE = 2e-5


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients saw.

    Attributes:
        taken_ms: of each request.
        wall_s: of all of them.
        failed: answers that were not 200.
    """

    taken_ms: list[float]
    wall_s: float
    failed: int

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return len(self.taken_ms) / self.wall_s


class Connection:
    """One client: a connection that is kept."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def post(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of a request's answer."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Give the connection up."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def request_of(image: bytes) -> bytes:
    """A multipart request, as browsers and `curl -F` send it."""
    part = (
        b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    body = part + image + b"\r\n--xyz--\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def load(address: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Keep so many clients busy for so long; each asks again as soon as it was answered."""
    taken: list[float] = []
    failed = 0
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal failed
        connection, at = Connection(address), number
        while (begun := time.perf_counter()) < until:
            status, _ = await connection.post(requests[at % len(requests)])
            taken.append((time.perf_counter() - begun) * 1e3)
            failed += status != 200
            at += clients
        connection.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(i) for i in range(clients)))
    return Load(taken, time.perf_counter() - begun, failed)


@contextmanager
def started(*command: str) -> Iterator[tuple[int, str]]:
    """A server as a process: its id and its address."""
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, cwd=root) as child:
        try:
            assert child.stderr is not None
            line = child.stderr.readline()
            if " at http://" not in line:
                raise RuntimeError(line + child.stderr.read())
            yield child.pid, line.rsplit(" at ", 1)[1].strip()
        finally:
            child.terminate()


def ours(model: Path) -> contextlib.AbstractContextManager[tuple[int, str]]:
    """`mobilenets serve`, with its defaults."""
    return started("-m", "mobilenets", "serve", f"it={model}", "--port", "0")


def plain(model: Path) -> contextlib.AbstractContextManager[tuple[int, str]]:
    """What most people write."""
    return started("-m", "benchmarks.serve_plain", str(model))


def photos() -> list[bytes]:
    """The shared photos where they are there, else pictures of noise."""
    import tarfile

    tar = Path(os.environ.get("MOBILENETS_SHARED", "../shared")) / "data" / "photos_80.tar"
    if not tar.is_file():
        return [drawn(i, (500, 375)) for i in range(80)]
    with tarfile.open(tar) as archive:
        files = [archive.extractfile(each) for each in archive if each.name.endswith(".jpg")]
        return [file.read() for file in files if file is not None]


def drawn(seed: int, size: tuple[int, int] = (200, 150)) -> bytes:
    """A JPEG of coloured patches, another one for every seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


SERVERS = {"mobilenets serve": ours, "plain FastAPI": plain}


def compare(model: Path, seconds: float, rounds: int) -> None:
    """Both servers by turns."""
    requests = [request_of(photo) for photo in photos()]
    loads: dict[tuple[str, int], list[Load]] = {}
    with contextlib.ExitStack() as stack:
        addresses = {label: stack.enter_context(server(model))[1] for label, server in SERVERS.items()}
        for address in addresses.values():
            asyncio.run(load(address, requests, 8, 1.0))  # what is put off until the first requests
        for _ in range(rounds):
            for clients in CLIENTS:
                for label, address in addresses.items():
                    found = asyncio.run(load(address, requests, clients, seconds / rounds))
                    loads.setdefault((label, clients), []).append(found)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    title = f"{model.name}: {seconds:g} s at each number of clients, in {rounds} rounds by turns, {cores} cores allowed"
    table = Table(title=title, caption=machine())
    for column in ("clients", "server", "requests/s", "of the rounds", "p50 ms", "p99 ms", "n", "failed", "ratio"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for clients in CLIENTS:
        slow = middle(loads["plain FastAPI", clients])
        for label in SERVERS:
            table.add_row(str(clients), label, *cells(loads[label, clients], slow))
    Console(width=120).print(table)
    print(f"bar: {BAR} times the requests/s at {CLIENTS[-1]} clients")


def middle(loads: Sequence[Load]) -> float:
    """Median requests a second of the rounds."""
    return statistics.median(each.per_s for each in loads)


def cells(loads: Sequence[Load], slow: float) -> list[str]:
    """Of the rounds of one server at one number of clients; `slow` is what its rate is compared with."""
    rates = [each.per_s for each in loads]
    taken = [ms for each in loads for ms in each.taken_ms]
    p50, p99 = np.percentile(taken, [50, 99])
    failed = sum(each.failed for each in loads)
    return [
        f"{middle(loads):.1f}", f"{min(rates):.1f} to {max(rates):.1f}", f"{p50:.1f}", f"{p99:.1f}",
        str(len(taken)), str(failed), f"{middle(loads) / slow:.2f}",
    ]  # fmt: skip


def distinct(model: Path, count: int, clients: int = 64) -> None:
    """Ask about as many different images at once as there are clients; compare each answer with its image's own."""
    from mobilenets.prediction import open_model
    from mobilenets.prediction.asking import asking
    from mobilenets.prediction.loading import load_seen
    from mobilenets.serve.images import Upload

    predictor = open_model(model, threads=1)
    ask = asking(predictor, 5)
    images = [drawn(i) for i in range(count)]
    expected = []
    for i in range(0, count, 32):
        seen = [
            load_seen(Upload("", each), predictor.preprocessing, task=predictor.task) for each in images[i : i + 32]
        ]
        expected += [each.top for each in ask([Path()] * len(seen), seen)]
    wrong: list[int] = []
    answered = 0
    waiting = iter(range(count))

    async def client(address: str) -> None:
        nonlocal answered
        connection = Connection(address)
        for i in waiting:
            status, body = await connection.post(request_of(images[i]))
            answered += 1
            if status != 200 or not same(json.loads(body)["predictions"][0]["top"], expected[i]):
                wrong.append(i)

    async def everybody(address: str) -> None:
        await asyncio.gather(*(client(address) for _ in range(clients)))

    begun = time.perf_counter()
    with ours(model) as (_, address):
        asyncio.run(everybody(address))
    different = len({tuple((label, round(score, 5)) for label, score in each) for each in expected})
    print(machine())
    print(
        f"{model.name}: {answered:,} of {count:,} requests answered at {clients} clients in "
        f"{time.perf_counter() - begun:.0f} s, {len(wrong)} wrong; the images have {different:,} different answers"
    )


def same(told: Sequence[dict[str, float | str]], expected: Sequence[tuple[str, float]]) -> bool:
    """Whether an answer names the same classes with the same scores, up to rounding."""
    pairs = zip(told, expected, strict=True)
    return all(t["label"] == label and abs(float(t["score"]) - score) < TOLERANCE for t, (label, score) in pairs)


def memory(model: Path, count: int, clients: int = 64) -> None:
    """Resident memory of the server over many requests."""
    requests = [request_of(photo) for photo in photos()]
    with ours(model) as (pid, address):
        print(machine())
        print(f"{model.name}: requests, resident MB")
        done = 0

        async def some(number: int) -> None:
            waiting = iter(range(number))

            async def client() -> None:
                connection = Connection(address)
                for i in waiting:
                    await connection.post(requests[i % len(requests)])
                connection.close()

            await asyncio.gather(*(client() for _ in range(clients)))

        for _ in range(10):
            asyncio.run(some(count // 10))
            done += count // 10
            print(f"  {done:>8,} {resident_mb(pid):.1f}", flush=True)


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def exported(folder: Path, name: str) -> Path:
    """A network of the index with random weights, as an ONNX file."""
    from mobilenets.model import arrays, build
    from mobilenets.onnx import to_onnx

    model = build(name)
    classes = tuple(f"class {i}" for i in range(1000))
    file = folder / f"{name}.onnx"
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=classes)
    file.write_bytes(proto.SerializeToString())
    return file


def run(seconds: float = 9.0) -> None:
    """MobileNetV3-Small, a few seconds each."""
    with tempfile.TemporaryDirectory() as folder:
        compare(exported(Path(folder), "mobilenet_v3_small"), seconds, ROUNDS)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an .onnx file of a classifier; MobileNetV3-Small unless given")
    parser.add_argument("--seconds", type=float, default=60.0, help="at each number of clients")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--distinct", type=int, metavar="N", help="check so many answers instead")
    parser.add_argument("--memory", type=int, metavar="N", help="watch memory over so many requests instead")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = (asked.model or exported(Path(folder), "mobilenet_v3_small")).resolve()
        if asked.distinct:
            distinct(model, asked.distinct)
        elif asked.memory:
            memory(model, asked.memory)
        else:
            compare(model, asked.seconds, asked.rounds)


if __name__ == "__main__":
    main()
