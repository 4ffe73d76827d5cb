"""Repeat a run bit for bit: deterministic algorithms, and the generators of every rank."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gspnl.train.distributed import Ranks


@contextmanager
def repeatable(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Use deterministic algorithms where torch has them, and restore the caller's settings.

    Parameters
    ----------
    device : torch.device
    threads : int, optional
        Of this process on the CPU: the last bits of sums depend on it.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUBLAS starts
    strict = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    filled, before = settings.fill_uninitialized_memory, torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deterministic.*")  # operations without such algorithms
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            settings.fill_uninitialized_memory = False  # slow, and of no use here
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=only_warn)
            settings.fill_uninitialized_memory = filled
            torch.set_num_threads(before)


def generators(ranks: Ranks) -> dict[str, Tensor]:
    """The states of torch's generators on all ranks, ``<kind>.<rank>``."""
    own = {"cpu": torch.get_rng_state()}
    if ranks.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(ranks.device)
    return {
        f"{kind}.{rank}": state
        for rank, states in enumerate(ranks.gather(own))
        for kind, state in states.items()
    }


def restore_generators(ranks: Ranks, states: Mapping[str, Tensor], seed: int) -> None:
    """Set the generators of this rank to its states, or by the seed where it has none."""
    torch.manual_seed(seed)
    if (cpu := states.get(f"cpu.{ranks.rank}")) is not None:
        torch.set_rng_state(cpu)
    if ranks.device.type == "cuda" and (cuda := states.get(f"cuda.{ranks.rank}")) is not None:
        torch.cuda.set_rng_state(cuda, ranks.device)
