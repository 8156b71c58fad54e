"""What makes a step fast on this machine: where it runs, which products it takes, and memory that is kept."""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mobilenets.model import MobileNet

PROBED_BATCHES = (16, 32, 64, 128, 256)
"""Batch sizes that the automatic choice tries, smallest first."""


@contextmanager
def bf16_products(enabled: bool) -> Iterator[None]:
    """Let oneDNN multiply in bfloat16 inside float32 convolutions, and put the setting back.

    Not autocast: its bfloat16 backward passes of strided and 5x5 depthwise convolutions are several times slower than
    float32 (45 ms against 3.3 ms for 64 channels of 48x48, stride 2, batch 64, on a processor with AMX).
    """
    settings = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = settings.fp32_precision
    try:
        if enabled:
            settings.fp32_precision = "bf16"
        yield
    finally:
        settings.fp32_precision = before


@contextmanager
def reduced(precision: str, device: torch.device) -> Iterator[None]:
    """The arithmetic of a forward and backward pass: `fp32`, `bf16`, or `fp16` (CUDA only).

    On processors bfloat16 lives inside the products alone; on CUDA autocast decides, operator by operator.
    """
    if device.type == "cpu":
        with bf16_products(precision == "bf16"):
            yield
    else:
        dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
            yield


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the system.

    Activations are freed and asked for again in every step; fresh pages cost a fault each. Measured: 341 to 425
    images/s for V1 0.5 at 96 px on 2 cores. Elsewhere than on glibc this does nothing.
    """
    try:
        library = ctypes.CDLL(None)
        mmap_max, trim_threshold, top_pad = -4, -1, -2
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(top_pad, 64 << 20)
    except (OSError, AttributeError, TypeError):
        return


def fastest_precision(model: MobileNet, batch_size: int, device: torch.device) -> str:
    """The arithmetic whose forward and backward pass takes least time here; float32 on a near tie."""
    n = min(batch_size, 32)
    base = _time_pass(model, n, "fp32", device)
    return "bf16" if _time_pass(model, n, "bf16", device) < 0.95 * base else "fp32"


def fastest_batch(model: MobileNet, precision: str, device: torch.device, images: int) -> int:
    """The batch size with the most images a second, of those that fit in memory; the smallest within 5 % of it.

    Args:
        model: what is trained.
        precision: the arithmetic of the training.
        device: where it trains.
        images: in the training set; an epoch keeps at least 8 steps.
    """
    speeds: dict[int, float] = {}
    for n in PROBED_BATCHES:
        if speeds and n > max(8, images // 8):
            break
        try:
            speeds[n] = n / _time_pass(model, n, precision, device)
        except (torch.OutOfMemoryError, RuntimeError):  # the processor's allocator raises the latter
            break
    best = max(speeds.values(), default=0.0)
    return next((n for n, speed in speeds.items() if speed >= 0.95 * best), PROBED_BATCHES[0])


def _time_pass(model: MobileNet, n: int, precision: str, device: torch.device) -> float:
    """Seconds of the fastest of a few forward and backward passes over n images, on a copy of the model."""
    size = model.network.resolution
    pixels = torch.rand(n, model.network.in_channels, size, size, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    probe = copy.deepcopy(model).train()
    best = math.inf
    for _ in range(4):
        begin = time.perf_counter()
        with reduced(precision, device):
            out = probe(pixels)
            parts = out if isinstance(out, tuple) else (out,)
            torch.stack([part.float().sum() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return best
