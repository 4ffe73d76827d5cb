"""What each process gets of a batch: at least two samples, which a batch norm needs."""

from __future__ import annotations

import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train import gathering
from gspnl.train.processes import Processes

LEAST = 2  # samples of a process


def counted(samples: int, size: int, world: int) -> tuple[bool, int]:
    """Whether the last batch of an epoch is dropped, and how many batches are left.

    It is where it has fewer than ``size`` // 8 samples, or only one, and is not the only one.
    How many processes there are makes no difference; too many are refused.

    Parameters
    ----------
    samples : int
        Of the training set.
    size : int
        Of a batch, of all processes together.
    world : int
        Processes.

    Raises
    ------
    InputError
        If a process would get fewer than two samples of a batch.

    Examples
    --------
    >>> counted(10_000, 128, 2), counted(9_990, 128, 2)  # the last has 16 samples, and 6
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


def dealt(among: Processes, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    r"""A share of the sound samples of a batch, at least two; on every process none, if too few.

    Damaged samples are known when they have been read, by the process that reads them. Where that
    leaves one fewer than two, the sound samples of all are dealt out again: every process goes
    through the network, which those wait for that average gradients and batch norms with it, and
    all samples count alike.

    Parameters
    ----------
    among : Processes
    images : tensor of shape (n, C, \*spatial)
        On the CPU; n ≥ 0 is each process's own.
    labels : tensor of shape (n,)

    Returns
    -------
    images, labels : tensor

    Examples
    --------
    >>> alone = Processes(torch.device("cpu"))
    >>> [len(dealt(alone, torch.ones(n, 3, 8, 8), torch.ones(n))[0]) for n in (3, 2, 1, 0)]
    [3, 2, 0, 0]
    """
    sizes = [int(each) for each in among.gathered(torch.tensor([len(labels)]))]
    if sum(sizes) < LEAST * among.world:
        return images[:0], labels[:0]
    if min(sizes) >= LEAST:
        return images, labels
    images, labels = gathering.rows(among, images), gathering.rows(among, labels)
    first, last = (len(labels) * part // among.world for part in (among.rank, among.rank + 1))
    return images[first:last], labels[first:last]
