"""Latency measured, not guessed: one image through the exported artifact in its runtime, on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.latency.devices import Device, Link
from mobilenets.latency.runner import time_call
from mobilenets.latency.sensors import processor
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.outputs import PROBABILITIES
from mobilenets.precision import Precision
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import Session, runtimes_of
from mobilenets.runtime.session import joined
from mobilenets.table.rows import Network

ROUNDS = 5
"""Rounds in which a model's time is taken by turns with the others'."""


Ending = Callable[[bytes, Network], bytes]
"""What puts post-processing behind a network's raw outputs: the bytes of an ONNX file to those that are shipped."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one image.

    Attributes:
        median_ms: median over `runs`.
        p90_ms: 90th percentile.
        min_ms: fastest run.
        runs: timed runs, after warming up.
        threads: threads inside an operator.
        runtime: name and version.
        precision: of the weights and activations.
        device: the machine.
        p99_ms: 99th percentile.
        load_ms: from the file to a session that can run.
        first_ms: the first run, which often prepares what later ones reuse.
        peak_bytes: most memory that the process held, interpreter and runtime included; None where it was shared
            with other models or the device does not say.
        temperature_c: of the processor after the last round, where it can be read.
        clock_mhz: of its fastest core then, where it can be read.
        load_average: processes that ran or waited in the last minute, the measured one among them.
        rounds_ms: median of each round; how far they differ says how quiet the machine was.
        waited: part of the time in which others had the processor; None with several threads, or where the device
            does not say.
    """

    median_ms: float
    p90_ms: float
    min_ms: float
    runs: int
    threads: int
    runtime: str
    precision: str
    device: str
    p99_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    peak_bytes: int | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    load_average: float | None = None
    rounds_ms: tuple[float, ...] = ()
    waited: float | None = None

    @property
    def spread(self) -> float:
        """How much slower the slowest round was than the fastest: 0.1 is ten percent."""
        return max(self.rounds_ms) / min(self.rounds_ms) - 1 if self.rounds_ms else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.2f} ms median, {self.p90_ms:.2f} ms p90, {self.runs} runs, {self.threads} "
            f"thread{'s' if self.threads > 1 else ''}, {self.runtime} {self.precision}, {self.device}"
        )


@dataclass(frozen=True, slots=True)
class Model:
    """Something that can be timed: the files of one artifact.

    Attributes:
        name: for the reader.
        files: name and bytes; the first one is opened, the others lie beside it.
        runtime: None takes the format's own.
        precision: of float arithmetic; None takes fp32.
    """

    name: str
    files: tuple[tuple[str, bytes], ...]
    runtime: str | None = None
    precision: str | None = None

    @staticmethod
    def of(path: str | Path, *, runtime: str | None = None, precision: str | None = None) -> Model:
        """An exported file, with what belongs to it (the weights of an OpenVINO IR).

        Raises:
            MisuseError: no such file, or a suffix that no runtime reads.
        """
        path = Path(path)
        runtimes_of(path)
        parts = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
        if missing := next((part for part in parts if not part.is_file()), None):
            raise MisuseError(f"no such file: {missing}.")
        return Model(path.name, tuple((part.name, part.read_bytes()) for part in parts), runtime, precision)

    @staticmethod
    def random(network: Network, precision: Precision = "fp32", ending: Ending | None = None) -> Model:
        """A network without weights: exported as ONNX with random ones, whose speed is the same.

        With an `ending` boxes and masks are made inside; random scores make it suppress as many boxes as it ever does.

        Raises:
            MisuseError: a precision that ONNX Runtime has no fast form of.
        """
        preprocessing = Preprocessing.of(network)
        data = to_onnx(network, random_weights(network), preprocessing).SerializeToString()
        match precision:
            case "fp32":
                pass
            case "int8":
                from mobilenets.onnx.quantized import quantize_onnx

                data = quantize_onnx(data, _image(network))
            case "fp16":
                raise MisuseError("fp16 is a way to store weights: latency is timed in fp32 or int8.")
        if ending is not None and network.task != "classify":
            data = ending(data, network)
        return Model(network.label, (("model.onnx", data),))


def _image(network: Network) -> NDArray[np.uint8]:
    size = network.resolution
    return np.random.default_rng(0).integers(0, 256, (1, size, size, network.in_channels), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of one model.

    Attributes:
        times_ms: of each run.
        works_ms: of each run, what the process worked; empty where the device does not say, or several threads work.
        readings: temperature, clock, load and peak memory at its end.
    """

    times_ms: tuple[float, ...]
    works_ms: tuple[float, ...]
    readings: Mapping[str, float | None]

    @property
    def median_ms(self) -> float:
        """Of this round."""
        return float(np.median(self.times_ms))

    @property
    def undisturbed_ms(self) -> float:
        """Median without the time in which others had the processor: what a quiet device would take."""
        return float(np.median(np.minimum(self.times_ms, self.works_ms or self.times_ms)))


class Timing:
    """One model on an open link: loaded, timed in rounds, dropped."""

    def __init__(self, link: Link, model: Model, *, threads: int, own_process: bool = True) -> None:
        """Load it.

        Args:
            link: to the device.
            model: what is timed.
            threads: threads inside an operator.
            own_process: alone in a process where the device has processes, so that peak memory is its own.
        """
        self.link, self.model, self.threads, self.own_process = link, model, threads, own_process
        self.id = f"m{id(self)}"
        self.rounds: list[Round] = []
        self.about = link.ask(
            {
                "do": "load",
                "model": self.id,
                "process": self.id if own_process else "shared",
                "files": [(name, len(data)) for name, data in model.files],
                "threads": threads,
                "runtime": model.runtime or runtimes_of(model.files[0][0])[0],
                "precision": model.precision,
            },
            [data for _, data in model.files],
        )

    def round(self, *, runs: int = 1_000_000, limit_s: float, warmup_s: float = 0.02, least: int = 3) -> Round:
        """Time it for a while; the round is kept."""
        said = self.link.ask(
            {
                "do": "time",
                "model": self.id,
                "runs": runs,
                "limit_s": limit_s,
                "warmup_s": warmup_s,
                "least": least,
            }
        )
        times, works = (tuple(said.pop(key, ())) for key in ("times_ms", "works_ms"))
        self.rounds.append(Round(times, works if self.threads == 1 else (), said))
        return self.rounds[-1]

    def drop(self) -> None:
        """Free it."""
        self.link.ask({"do": "drop", "model": self.id})

    def latency(self) -> Latency:
        """Over all rounds so far."""
        times = np.concatenate([np.asarray(r.times_ms) for r in self.rounds])
        last = self.rounds[-1].readings
        median, p90, p99 = (float(v) for v in np.percentile(times, (50, 90, 99)))
        peak = last.get("peak_bytes")
        works = sum(sum(r.works_ms) for r in self.rounds)
        return Latency(
            median,
            p90,
            float(times.min()),
            len(times),
            self.threads,
            self.about["runtime"],
            self.about["precision"],
            self.link.name,
            p99,
            self.about["load_ms"],
            self.about["first_ms"],
            int(peak) if peak is not None and self.own_process else None,
            last.get("temperature_c"),
            last.get("clock_mhz"),
            last.get("load_average"),
            tuple(r.median_ms for r in self.rounds),
            max(0.0, 1 - works / float(times.sum())) if works else None,
        )


@contextlib.contextmanager
def loaded(link: Link, models: Sequence[Model], *, threads: int, own_process: bool = True) -> Iterator[list[Timing]]:
    """Models ready to be timed; they are dropped when the block ends well."""
    timings = [Timing(link, model, threads=threads, own_process=own_process) for model in models]
    yield timings
    for timing in timings:
        timing.drop()


def interleave(
    timings: Sequence[Timing], *, rounds: int, limit_s: float, runs: int = 1_000_000, least: int = 3
) -> Iterator[int]:
    """Rounds in which every model has its turn, so that a busy moment hits all of them; yields after each."""
    for number in range(1, rounds + 1):
        for timing in timings:
            timing.round(runs=runs, limit_s=limit_s, warmup_s=0.1 if number == 1 else 0.02, least=least)
        yield number


def time_artifact(
    device: Device,
    path: str | Path,
    *,
    threads: int = 1,
    seconds: float = 2.0,
    runtime: str | None = None,
    precision: str | None = None,
) -> Latency:
    """Latency of one exported file on a device, over about so many seconds.

    Raises:
        MisuseError: no such file, or one that the device does not run.
        DeviceError: the device cannot be reached, or cannot run it.
    """
    model = Model.of(path, runtime=runtime, precision=precision)
    with device.connect() as link, loaded(link, [model], threads=threads) as (timing,):
        for _ in interleave([timing], rounds=ROUNDS, limit_s=seconds / ROUNDS):
            pass
        return timing.latency()


def time_networks(
    device: Device,
    networks: Sequence[Network],
    *,
    threads: int = 1,
    precision: Precision = "fp32",
    ending: Ending | None = None,
    runs: int = 50,
    limit_s: float = 0.5,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """Latency of networks that have no weights yet, over one connection: exported with random ones.

    Each is timed in `ROUNDS` rounds of together at most `runs` runs or `limit_s` seconds (but ten runs).

    Raises:
        DeviceError: the device cannot be reached, or cannot run them.
    """
    found = []
    with device.connect() as link:
        for i, network in enumerate(networks):
            model = Model.random(network, precision, ending)
            with loaded(link, [model], threads=threads, own_process=False) as (timing,):
                each = -(-runs // ROUNDS)
                for _ in interleave([timing], rounds=ROUNDS, runs=each, limit_s=limit_s / ROUNDS, least=2):
                    pass
                found.append(timing.latency())
            if on_progress is not None:
                on_progress(i + 1, len(networks))
    return found


def time_session(session: Session, *, runs: int = 50, limit_s: float = 2.0) -> Latency:
    """Latency of one image through an artifact that this process has loaded."""
    size, channels = session.preprocessing.resolution, session.preprocessing.channels
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, channels), dtype=np.uint8)
    times = time_call(lambda: session.outputs(image), runs=runs, limit_s=limit_s)
    median, p90, p99 = (float(v) for v in np.percentile(times, (50, 90, 99)))
    about = (session.threads, f"{session.runtime} {session.version}", session.precision, processor())
    return Latency(median, p90, min(times), len(times), *about, p99)


def outputs(timing: Timing, images: NDArray[np.uint8], *, batch: int = 8) -> dict[str, NDArray[np.float32]]:
    """A file's outputs for uint8 images (n, h, w, c), by name, computed on the device."""
    found = []
    for start in range(0, len(images), batch):
        part = np.ascontiguousarray(images[start : start + batch])
        command = {"do": "run", "model": timing.id, "files": [("images", part.nbytes)], "shape": part.shape}
        reply = timing.link.ask(command, [part.tobytes()])
        parts = reply["outputs"].items()
        found.append({name: np.asarray(it["values"], np.float32).reshape(it["shape"]) for name, it in parts})
    return joined(found)


def probabilities(timing: Timing, images: NDArray[np.uint8], *, batch: int = 8) -> NDArray[np.float32]:
    """Class probabilities (n, classes) of uint8 images (n, h, w, c), computed on the device."""
    return outputs(timing, images, batch=batch)[PROBABILITIES]
