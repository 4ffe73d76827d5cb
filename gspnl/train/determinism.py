"""Random numbers and algorithms that do not vary from one run to the next."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gspnl.train.processes import Processes


@contextmanager
def repeatable(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Deterministic algorithms where torch has them, and the caller's settings afterwards.

    Parameters
    ----------
    device : torch.device
    threads : int, optional
        Of this process on the CPU: sums depend on it, in their last bits.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUBLAS starts
    strict, only_warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch_own: Any = torch.utils.deterministic
    filled = torch_own.fill_uninitialized_memory
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deterministic.*")  # what has no such algorithm
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch_own.fill_uninitialized_memory = False  # it costs, and is no use
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=only_warn)
            torch_own.fill_uninitialized_memory = filled
            torch.set_num_threads(before)


def generators(among: Processes) -> dict[str, Tensor]:
    """The states of torch's generators on all processes, ``<kind>.<rank>``."""
    found = {"cpu": torch.get_rng_state()}
    if among.device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(among.device)
    return {
        f"{kind}.{rank}": state
        for kind, mine in found.items()
        for rank, state in enumerate(among.gathered(mine))
    }


def restore_generators(among: Processes, states: Mapping[str, Tensor], seed: int) -> None:
    """Give this process its generators back; one that had none begins anew."""
    torch.manual_seed(seed)
    if f"cpu.{among.rank}" in states:
        torch.set_rng_state(states[f"cpu.{among.rank}"])
    if among.device.type == "cuda" and f"cuda.{among.rank}" in states:
        torch.cuda.set_rng_state(states[f"cuda.{among.rank}"], among.device)
