"""Join the processes of a run: sums, gathers and failures over ranks, and the count of batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from gspnl.errors import GspnlError, InputError, ProcessError

T = TypeVar("T")
LEAST = 2  # samples of a rank, which a batch norm needs


@dataclass(frozen=True)
class Ranks:
    """The processes that train one network, seen from one of them."""

    device: torch.device  # of this process
    rank: int = 0  # of this process, among ``world``
    world: int = 1
    control: Any = None  # the process group for numbers and objects on the CPU

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float], operation: str = "SUM") -> list[float]:
        """Sums over all ranks, in float64, or maxima by "MAX"."""
        if self.world == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values, getattr(dist.ReduceOp, operation), self.control)
        return [float(value) for value in values]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        values: list[Any] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value, self.control)
        return values

    def lines(self, own: Iterable[str]) -> list[str]:
        """The lines of all ranks, sorted, each once."""
        return sorted(set[str]().union(*self.gather(set(own))))

    def agree(self, act: Callable[[], T]) -> T:
        """Do something on every rank; if it fails on one it fails on all."""
        return self.attempt(act)[0]

    def attempt(self, act: Callable[[], T], number: int = 0) -> tuple[T, int]:
        """Do something on every rank; return its result, and the largest ``number`` of any rank.

        If it fails on one rank it fails on all: with its own error there, a ProcessError elsewhere.
        """
        result: Any = None
        failure: Exception | None = None
        try:
            result = act()
        except Exception as error:
            failure = error
        failed, largest = self.sum([failure is not None, number], "MAX")
        if failure:
            raise failure
        if failed:
            raise ProcessError("another process failed; its own message names the cause")
        return result, int(largest)

    def broadcast(self, buffers: Iterable[torch.Tensor]) -> None:
        """Give all ranks the buffers of the first."""
        if self.world > 1:
            for buffer in buffers:
                dist.broadcast(buffer, 0)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with its gradients averaged over all ranks."""
        if self.world == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Only evaluation reads the statistics of batch norms, and they are broadcast before it.
        parallel = nn.parallel.DistributedDataParallel
        renamed = "forward_sync_buffers" in signature(parallel).parameters  # since torch 2.13
        options: Any = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
        return parallel(network, ids, **options)


@contextmanager
def join(device: str | None = None, *, timeout: float = 300.0) -> Iterator[Ranks]:
    """Join the other processes of this run, if the environment names any, as torchrun does.

    The device is "cpu", "cuda" or "cuda:1"; by default a GPU if there is one. Of several processes
    on "cuda", each has the GPU of its LOCAL_RANK. Errors of torch about a process that has gone, or
    does not answer within ``timeout`` seconds, become ProcessError.
    """
    started = dist.is_available() and dist.is_initialized()
    several = started or int(os.environ.get("WORLD_SIZE", "1")) > 1
    place = _device(device, several)
    if not several:
        yield Ranks(place)
        return
    wait = timedelta(seconds=timeout)
    try:
        if not started:
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=wait)
        control = None if dist.get_backend() == "gloo" else dist.new_group(None, wait, "gloo")
        yield Ranks(place, dist.get_rank(), dist.get_world_size(), control)
    except (RuntimeError, ValueError) as error:
        # A lack of memory has nothing to do with the others.
        if isinstance(error, (GspnlError, torch.OutOfMemoryError)):
            raise
        raise ProcessError(
            f"a process of this run failed or does not answer; see its own message, and start all "
            f"again with --resume ({' '.join(str(error).split())[:300]})"
        ) from error
    finally:
        if not started and dist.is_initialized():
            dist.destroy_process_group()


def batch_count(samples: int, size: int, world: int) -> tuple[bool, int]:
    """Decide whether the last batch of an epoch is dropped, and count those that are left.

    It is dropped where it has fewer than ``size`` // 8 samples, or only one, and is not the only
    one; ``size`` is that of all processes together, and their number makes no difference.

    Examples
    --------
    >>> batch_count(10_000, 128, 2), batch_count(9_990, 128, 2)  # the last has 16 samples, and 6
    ((False, 79), (True, 78))
    """
    full, rest = divmod(samples, size)
    drop = full > 0 and 0 < rest < max(LEAST, size // 8)
    smallest = size if full and (drop or not rest) else rest
    if smallest < LEAST:
        raise InputError(
            f"batch_size={size} of {samples:,} training samples makes a batch of {smallest}, and a "
            f"batch norm needs two; give a batch_size of at least {LEAST}, and as many samples"
        )
    if smallest < LEAST * world:
        most = smallest // LEAST
        raise InputError(
            f"a batch of {smallest} among {world} processes leaves one fewer than two samples "
            f"(batch_size={size} of {samples:,} training samples); start at most {most} "
            f"process{'' if most == 1 else 'es'}, or give another batch_size"
        )
    return drop, full + (rest > 0 and not drop)


def _device(device: str | None, several: bool) -> torch.device:
    """The device of this process."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        if place.type == "cuda":
            if not torch.cuda.is_available():
                raise RuntimeError("torch sees no GPU")  # without CUDA, torch words it otherwise
            local = int(os.environ.get("LOCAL_RANK", "0")) if several else 0
            place = torch.device("cuda", local) if place.index is None else place
            torch.cuda.set_device(place)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # all that torch could be built for
            reason = "torch knows no such device"
        raise InputError(
            f"device={name!r} cannot be used here ({reason}); give 'cpu', or a device that "
            "torch sees"
        ) from error
    return place
