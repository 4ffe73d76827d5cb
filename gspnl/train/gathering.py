"""What each process has, put together on all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.train.processes import Processes


def rows(among: Processes, mine: Tensor) -> Tensor:
    r"""The tensors of all processes, one after the other.

    Parameters
    ----------
    among : Processes
    mine : tensor of shape (n, \*rest)
        On the CPU; n ≥ 0 is each process's own, the rest is of all.

    Returns
    -------
    tensor of shape (Σ n, \*rest)

    Raises
    ------
    InputError
        On all processes, if those that have rows have them of several shapes.

    Examples
    --------
    >>> rows(Processes(torch.device("cpu")), torch.tensor([[1, 2]]))  # alone
    tensor([[1, 2]])
    """
    if among.world == 1:
        return mine
    shapes = [tuple(each.tolist()) for each in among.gathered(torch.tensor(mine.shape))]
    rests = sorted({shape[1:] for shape in shapes if shape[0]})
    if not rests:
        return mine
    if len(rests) > 1:
        raise InputError(
            f"the processes have samples of the shapes {rests[0]} and {rests[1]}; "
            "bring them to one size, as by 'random_resized_crop(224)'"
        )
    # Of one length, as a gathering must be; what is filled up is cut off again.
    filled = mine.new_zeros(max(shape[0] for shape in shapes), *rests[0])
    if len(mine):
        filled[: len(mine)] = mine
    parts = zip(among.gathered(filled), shapes, strict=True)
    return torch.cat([part[: shape[0]] for part, shape in parts])


def lines(among: Processes, mine: Iterable[str]) -> list[str]:
    r"""The lines of all processes, sorted, each once.

    Parameters
    ----------
    among : Processes
    mine : iterable of str
        Any text, names of files that are no UTF-8 included.

    Examples
    --------
    >>> lines(Processes(torch.device("cpu")), ["b is damaged", "a is damaged", "b is damaged"])
    ['a is damaged', 'b is damaged']
    """
    found = set(mine)
    if among.world > 1:
        text = "".join(json.dumps(line) + "\n" for line in sorted(found))  # ASCII, and no pickle
        content = torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())
        every = bytes(rows(among, content).numpy()).decode()
        found = {json.loads(line) for line in every.splitlines()}
    return sorted(found)
