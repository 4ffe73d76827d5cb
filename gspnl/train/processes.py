"""The processes of a run: one, or those that torchrun starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
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


@dataclass(frozen=True)
class Processes:
    """One process among those that train a network.

    Parameters
    ----------
    device : torch.device
        Of this process.
    rank, world : int
        Which of how many.
    control : ProcessGroup, optional
        For numbers on the CPU.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    control: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, in float64."""
        if self.world == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        with answered(self):
            dist.all_reduce(total, group=self.control)
        return [float(value) for value in total]

    def gathered(self, values: torch.Tensor) -> list[torch.Tensor]:
        """A CPU tensor of every process, of one shape."""
        if self.world == 1:
            return [values]
        every = [torch.empty_like(values) for _ in range(self.world)]
        with answered(self):
            dist.all_gather(every, values, group=self.control)
        return every

    def together(self, act: Callable[[], T], number: int = 0) -> tuple[T, int]:
        """Do something on every process, and learn the largest of a number that each has.

        If it fails on one it fails on all: with its own error there, a ProcessError elsewhere.
        """
        result: Any = None
        trouble: Exception | None = None
        try:
            result = act()
        except Exception as error:
            trouble = error
        told = self.gathered(torch.tensor([float(trouble is not None), float(number)]))
        if trouble is not None:
            raise trouble
        if any(float(each[0]) for each in told):
            raise ProcessError("another process failed; what it says tells why")
        return result, int(max(float(each[1]) for each in told))

    def agree(self, act: Callable[[], T]) -> T:
        """Do something on every process; if it fails on one it fails on all."""
        return self.together(act)[0]

    def share(self, buffers: Iterator[torch.Tensor]) -> None:
        """Give all processes the buffers of the first."""
        if self.world > 1:
            with answered(self):
                for buffer in buffers:
                    dist.broadcast(buffer, 0)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with its gradients averaged over all processes."""
        if self.world == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Statistics of batch norms are shared before each evaluation, which is all that sees them.
        made = nn.parallel.DistributedDataParallel
        new = "forward_sync_buffers" in signature(made).parameters  # the name since torch 2.13
        options: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
        return made(network, ids, **options)


@contextmanager
def processes(device: str | None = None, *, timeout: float = 300.0) -> Iterator[Processes]:
    """Join the other processes of this run, if the environment says that there are any.

    Parameters
    ----------
    device : str, optional
        Such as "cpu", "cuda" or "cuda:1"; default: a GPU if there is one. Of several processes on
        "cuda", each has the GPU of its LOCAL_RANK.
    timeout : float
        Seconds after which a process that does not answer is given up.

    Yields
    ------
    Processes

    Raises
    ------
    InputError
        For a device that this machine does not have.
    ProcessError
        If the others cannot be reached.
    """
    started = dist.is_available() and dist.is_initialized()
    several = started or int(os.environ.get("WORLD_SIZE", "1")) > 1
    place = _device(device, several)
    if not several:
        yield Processes(place)
        return
    wait = timedelta(seconds=timeout)
    if not started:
        with answered():
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=wait)
    try:
        control = None if dist.get_backend() == "gloo" else dist.new_group(None, wait, "gloo")
        yield Processes(place, dist.get_rank(), dist.get_world_size(), control)
    finally:
        if not started:
            dist.destroy_process_group()


@contextmanager
def answered(among: Processes | None = None) -> Iterator[None]:
    """Name what torch says of a process that has gone, or does not answer."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        alone = among is not None and among.world == 1
        # What is short of memory has nothing to do with the others.
        if alone or isinstance(error, (GspnlError, torch.OutOfMemoryError)):
            raise
        raise ProcessError(
            f"a process of this run failed or does not answer; see what it says, and start all "
            f"again with --resume ({' '.join(str(error).split())[:300]})"
        ) from error


def _device(device: str | None, several: bool) -> torch.device:
    """The device of this process."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        if place.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("torch sees no GPU")  # one built without CUDA says it in other words
        if place.type == "cuda":
            if ":" not in name:
                local = int(os.environ.get("LOCAL_RANK", "0")) if several else 0
                place = torch.device("cuda", local)
            torch.cuda.set_device(place)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].partition(" device type at start")[0]
        if reason.startswith("Expected one of"):  # all that torch could be built for
            reason = "torch knows no such device"
        raise InputError(
            f"device={name!r} cannot be used here ({reason}); give 'cpu', or a device that "
            "torch sees"
        ) from error
    return place
