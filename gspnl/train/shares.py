"""What each process gets of a batch: at least two samples, which a batch norm needs."""

from __future__ import annotations

from gspnl.errors import InputError

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
