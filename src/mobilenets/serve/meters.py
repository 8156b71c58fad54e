"""What a server counts, in Prometheus' form."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mobilenets.version import __version__

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Meters:
    """Counters of one server, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mobilenets_requests", "Requests answered.", ("model", "status"), registry=self._registry
        )
        self._phases = Histogram(
            "mobilenets_phase_seconds", "What requests that were answered with 200 spent their time on.",
            ("model", "phase"), buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._batches = Histogram(
            "mobilenets_batch_images", "Images that the network saw at once.", ("model",),
            buckets=_SIZES, registry=self._registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "mobilenets_queue_images", "Images that wait for the network.", ("model",), registry=self._registry
        )
        self._under_way = Gauge(
            "mobilenets_requests_under_way", "Requests being answered.", ("model",), registry=self._registry
        )
        Gauge("mobilenets_info", "Version.", ("version",), registry=self._registry).labels(__version__).set(1)

    def count(self, model: str, status: int) -> None:
        """A request was answered; `model` is empty where it was for none."""
        self._requests.labels(model, str(status)).inc()

    def phases(self, model: str, timing_ms: dict[str, float]) -> None:
        """What a request took, milliseconds by phase."""
        for phase, taken in timing_ms.items():
            self._phases.labels(model, phase).observe(taken / 1e3)

    def batch(self, model: str) -> Callable[[int], None]:
        """Counts batches of a model."""
        return self._batches.labels(model).observe

    def watch(self, model: str, waiting: Callable[[], int], under_way: Callable[[], int]) -> None:
        """Asks these whenever the metrics are read."""
        self._waiting.labels(model).set_function(waiting)
        self._under_way.labels(model).set_function(under_way)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
