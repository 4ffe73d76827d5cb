"""What each process gets of a batch: which batches there are does not depend on how many."""

from __future__ import annotations

import pytest

from gspnl.errors import InputError
from gspnl.train.shares import counted


@pytest.mark.parametrize(
    ("samples", "size", "dropped", "steps"),
    [
        (10_000, 128, False, 79),  # 16 are left: an eighth
        (50_000, 128, False, 391),  # 80
        (9_999, 128, True, 78),  # 15
        (9_984, 128, False, 78),  # none
        (33, 16, True, 2),  # 1: a batch norm needs two
        (34, 16, False, 3),
        (41, 4, True, 10),
        (30, 128, False, 1),  # the only one is kept, however small
        (2, 128, False, 1),
    ],
)
def test_the_last_batch_is_dropped_below_an_eighth(samples, size, dropped, steps):
    assert counted(samples, size, 1) == (dropped, steps)


@pytest.mark.parametrize(
    ("samples", "size", "world", "message"),
    [
        (10_000, 128, 9, "a batch of 16 among 9 processes .* 10,000 .* at most 8 processes"),
        (10_000, 4, 3, "a batch of 4 among 3 processes .* at most 2 processes"),
        (50, 16, 2, "a batch of 2 among 2 processes .* at most 1 process,"),
        (30, 128, 16, "a batch of 30 among 16 processes .* at most 15 processes"),
        (10_000, 1, 1, "batch_size=1 .* a batch of 1.* at least 2"),
        (1, 128, 1, "of 1 training samples makes a batch of 1"),
    ],
)
def test_too_many_processes(samples, size, world, message):
    with pytest.raises(InputError, match=message):
        counted(samples, size, world)


def test_every_number_of_processes_trains_on_the_same_batches():
    """By going through them: whatever is not refused is what one process does."""
    for samples in range(2, 70):
        for size in range(2, 34):
            alone = counted(samples, size, 1)
            batches = [min(size, samples - start) for start in range(0, samples, size)]
            kept = batches[:-1] if alone[0] else batches
            assert alone[1] == len(kept) > 0
            for world in range(2, 6):
                if min(kept) >= 2 * world:
                    assert counted(samples, size, world) == alone
                else:
                    with pytest.raises(InputError, match="fewer than two samples"):
                        counted(samples, size, world)
