"""Several processes that train one model: who am I, sums over all, one who writes. Alone it costs nothing."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from mobilenets.errors import MisuseError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a training, as torchrun started them.

    Attributes:
        rank: of this process; 0 writes files and tells of progress.
        size: number of processes.
        local: rank on this machine: which of its GPUs.
        restarts: how often torchrun has started them again.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    restarts: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The GPU of this process, or the processor."""
        return torch.device("cuda", self.local) if torch.cuda.is_available() else torch.device("cpu")

    def total(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        device = self.device if distributed.get_backend() == "nccl" else torch.device("cpu")
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(summed)
        return [float(v) for v in summed.tolist()]

    def gathered(self, value: Tensor) -> Tensor:
        """The tensors of all processes, one after the other along the first axis; their lengths may differ."""
        if self.size == 1:
            return value
        parts: list[Tensor | None] = [None] * self.size
        distributed.all_gather_object(parts, value.cpu())
        return torch.cat([part for part in parts if part is not None])

    def listed(self, values: list[T]) -> list[T]:
        """The lists of all processes, one after the other."""
        if self.size == 1:
            return values
        parts: list[list[T] | None] = [None] * self.size
        distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part or []]

    def told(self, value: T) -> T:
        """What rank 0 has."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def averaging(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over all processes."""
        gpus = [self.local] if self.device.type == "cuda" else None
        with warnings.catch_warnings():  # newer versions have another word for it, which older ones lack
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(module, device_ids=gpus, broadcast_buffers=False)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def share_of(self, batch_size: int) -> int:
        """Images of a global batch that this process takes.

        Raises:
            MisuseError: the batch cannot be divided.
        """
        if batch_size % self.size:
            low = batch_size // self.size * self.size
            near = " or ".join(str(n) for n in (low, low + self.size) if n >= 2 * self.size)
            raise MisuseError(
                f"a batch of {batch_size} images cannot be divided over {self.size} processes: give --batch-size "
                f"{near}."
            )
        return batch_size // self.size


def join() -> World:
    """The world that torchrun's environment describes; alone where there is none.

    NCCL where every process has a GPU, else gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
    world = World(
        rank=int(os.environ["RANK"]),
        size=size,
        local=int(os.environ.get("LOCAL_RANK", "0")),
        restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
    )
    if not distributed.is_initialized():
        # torchrun's workers share its store over restarts: without a prefix they would find dead processes' addresses
        store, _, _ = next(rendezvous("env://"))
        distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo",
            store=PrefixStore(f"restart{world.restarts}", store), rank=world.rank, world_size=size,
        )  # fmt: skip
        if world.device.type == "cuda":
            torch.cuda.set_device(world.device)
    return world


def job() -> str:
    """Which torchrun this process belongs to, over its restarts; each process of another start is a job of its own."""
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', 'alone')} {os.getppid() if 'RANK' in os.environ else os.getpid()}"


def leave() -> None:
    """Close the process group, where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
